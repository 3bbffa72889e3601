"""Parameters that are JSON Schemas themselves, where a definition says `format: json-schema`.

A schema is an object, a boolean, or a text of JSON that is an object. Its draft is 2020-12, or the one that its
`$schema` names. No `$ref` leads out of it, and nothing is fetched. Patterns are those of Rust's regex, whose time is
linear in the text.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import replace

import jsonschema_rs
from jsonschema_rs import ValidationErrorKind as Kind

from gatewright_documents.json_reader import parse_json
from gatewright_documents.mistake import Mistake, Unreadable, format_path, listed, shown
from gatewright_documents.schema_words import TYPES, expected_by_kind, meant
from gatewright_documents.values import JsonObject, JsonValue, KeyPath

FORMAT = "json-schema"
META_SCHEMAS = {
    jsonschema_rs.Draft202012Validator: "https://json-schema.org/draft/2020-12/schema",
    jsonschema_rs.Draft201909Validator: "https://json-schema.org/draft/2019-09/schema",
    jsonschema_rs.Draft7Validator: "http://json-schema.org/draft-07/schema#",
    jsonschema_rs.Draft6Validator: "http://json-schema.org/draft-06/schema#",
    jsonschema_rs.Draft4Validator: "http://json-schema.org/draft-04/schema#",
}
PATTERNS = jsonschema_rs.RegexOptions(size_limit=1 << 20, dfa_size_limit=1 << 20)
A_PATTERN = "a pattern of Rust's regex: without look-around, references back and counts that make it large"


def mistakes_in(schema: JsonValue, field: str) -> Iterator[Mistake]:
    """All that keeps the value of a parameter, found at `field`, from being a JSON Schema.

    Of what is neither an object nor a text nothing is said: whether the policy takes it, its definition says.
    """
    if isinstance(schema, dict):
        yield from dict.fromkeys(_mistakes(schema, field))
    elif isinstance(schema, str):
        try:
            inner = parse_json(schema.encode(errors="replace"), "a JSON Schema")
        except Unreadable as unreadable:
            yield from (replace(mistake, field=field, line=0) for mistake in unreadable.mistakes)
            return
        for mistake in dict.fromkeys(_mistakes(inner, "")):  # a document has fields no deeper than the text
            yield Mistake(field, str(mistake))


def _mistakes(schema: JsonObject, field: str) -> Iterator[Mistake]:
    """The mistakes that its meta-schema finds; without any, the first part that cannot be compiled."""
    if "$schema" in schema and _compile_error({"$schema": schema["$schema"]}):
        expected, got = listed(sorted(META_SCHEMAS.values())), shown(schema["$schema"])
        yield Mistake.expecting(expected, got, "or leave it out", field=format_path(["$schema"], field))
        return
    wrong = list(_meta_schema(META_SCHEMAS[jsonschema_rs.validator_cls_for(schema)]).iter_errors(schema))
    for error in wrong:
        yield from _mistakes_of_error(error, field)
    if not wrong and (unfit := _compile_error(schema)):
        yield _uncompiled(unfit, schema, field)


@functools.cache
def _meta_schema(address: str) -> jsonschema_rs.Validator:
    return jsonschema_rs.validator_for({"$schema": address, "$ref": address}, offline=True)


def _compile_error(schema: JsonObject) -> jsonschema_rs.ValidationError | None:
    try:
        jsonschema_rs.validator_for(schema, pattern_options=PATTERNS, offline=True)
    except jsonschema_rs.ValidationError as error:
        return error
    return None


def _mistakes_of_error(error: jsonschema_rs.ValidationError, field: str) -> Iterator[Mistake]:
    where, got = format_path(error.instance_path, field), shown(error.instance)
    match error.kind:
        case Kind.AnyOf() if error.schema_path[-2:] == ["type", "anyOf"]:
            yield Mistake.expecting(f"one or a list of {', '.join(sorted(TYPES))}", got, field=where)
        case Kind.AnyOf(branches) if inner_errors := meant(error, branches):
            for inner in inner_errors:
                yield from _mistakes_of_error(inner, field)
        case _:
            expected = expected_by_kind(error.kind)
            yield Mistake.expecting(expected, got, field=where) if expected else Mistake(where, error.message)


def _uncompiled(error: jsonschema_rs.ValidationError, schema: JsonObject, field: str) -> Mistake:
    """A pattern, or a reference, which jsonschema-rs quotes without its place."""
    if isinstance(error.kind, Kind.Format):
        return Mistake.expecting(A_PATTERN, shown(error.instance), field=format_path(error.instance_path, field))
    quoted = [(path, to) for path, to in _references(schema) if (to.partition("#")[0] or to[1:]) in error.message]
    if not quoted:
        return Mistake(field, error.message)
    path, reference = max(quoted, key=lambda quote: len(quote[1]))  # one may begin another
    cure = "write what it names below $defs, and refer to that"
    return Mistake.expecting("a part of this schema", shown(reference), cure, field=format_path(path, field))


def _references(value: JsonValue, path: KeyPath = ()) -> Iterator[tuple[KeyPath, str]]:
    if isinstance(value, dict | list):
        for step, item in value.items() if isinstance(value, dict) else enumerate(value):
            if step in {"$ref", "$dynamicRef"} and isinstance(item, str) and item.strip("#"):
                yield (*path, step), item
            yield from _references(item, (*path, step))
