"""Whether the JSON Schema of a policy's parameters is one, with defaults that it would take itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NoReturn

import jsonschema_rs

from gatewright_documents.mistake import Mistake, format_path, shown
from gatewright_documents.schema_walk import schemas_with_paths
from gatewright_documents.secret_references import FORMAT
from gatewright_documents.values import JsonObject, JsonValue, KeyPath

DIALECT = "https://json-schema.org/draft/2020-12/schema"
META_SCHEMA = jsonschema_rs.Draft202012Validator({"$ref": DIALECT})
JSON_TYPES = "one or a list of array, boolean, integer, null, number, object, string"


@dataclass(frozen=True, slots=True)
class _Error:
    """What is wrong at a path of a schema; is_default: with a default, not with the schema."""

    path: KeyPath
    message: str
    is_default: bool = False


def schema_mistakes(schema: Mapping[str, JsonValue], field: str) -> Iterator[Mistake]:
    """All that keeps `schema`, found at the field `field` of its document, from being the schema of an object."""
    is_object = schema.get("type", "object") == "object"
    if not is_object:
        got = f"type: {schema['type']}"
        yield Mistake.expecting("object", got, "write type: object", field=f"{field}.type")
    if schema.get("$schema", DIALECT) != DIALECT:
        yield Mistake.expecting(DIALECT, str(schema["$schema"]), "leave it out", field=f"{field}.$schema")
    errors = list(dict.fromkeys(_errors(dict(schema))))  # the meta-schema has some rules in several vocabularies
    for error in errors:
        if error.path == ("type",) and not is_object:
            continue  # it is said above
        yield _mistake(error, format_path(error.path, field))
    if not errors:
        yield from _secret_mistakes(dict(schema), field)
        yield from _required_mistakes(dict(schema), field)


def _secret_mistakes(schema: JsonObject, field: str) -> Iterator[Mistake]:
    """Secrets are text: a reference to one says nothing of its type."""
    for path, subschema in schemas_with_paths(schema):
        if subschema.get("format") == FORMAT and subschema.get("type") != "string":
            got = str(subschema.get("type", "nothing"))
            where = format_path((*path, "type"), field)
            yield Mistake.expecting("string beside format: secret", got, "write type: string", field=where)


def _required_mistakes(schema: JsonObject, field: str) -> Iterator[Mistake]:
    """Where a name is required and refused, nothing is right, and no API could attach the policy."""
    for path, subschema in schemas_with_paths(schema):
        known = subschema.get("properties", {})
        if subschema.get("additionalProperties") is not False or "patternProperties" in subschema:
            continue
        for name in subschema.get("required", []):
            if name not in known:
                expected = f"one of {', '.join(known)}" if known else "no name"
                cure = "correct the name, or write the property"
                where = format_path((*path, "required"), field)
                yield Mistake.expecting(expected, repr(name), f"{cure}: no other is taken", field=where)


def _mistake(error: _Error, field: str) -> Mistake:
    if error.is_default:
        expected, cure = "a default that its own schema takes", "change one of the two"
    else:
        is_type = error.path and error.path[-1] == "type"
        expected, cure = JSON_TYPES if is_type else "a JSON Schema 2020-12", "fix the schema"
    return Mistake.expecting(expected, error.message, cure, field=field)


def _errors(schema: JsonObject) -> Iterator[_Error]:
    """What the meta-schema says; if that is nothing, what cannot be compiled; if that is nothing, wrong defaults."""
    errors = list(META_SCHEMA.iter_errors(schema)) or _compile_errors(schema)
    if errors:
        yield from (_Error(tuple(error.instance_path), _error_text(error)) for error in errors)
    else:
        yield from _default_errors(schema)


def _error_text(error: jsonschema_rs.ValidationError) -> str:
    is_type = list(error.instance_path)[-1:] == ["type"]
    return shown(error.instance) if is_type and error.kind.name == "anyOf" else error.message


def _compile_errors(schema: JsonObject) -> list[jsonschema_rs.ValidationError]:
    """Patterns, references."""
    try:
        jsonschema_rs.Draft202012Validator(schema, retriever=_refuse_address)
    except jsonschema_rs.ValidationError as error:
        return [error]
    return []


def _refuse_address(uri: str) -> NoReturn:
    raise ValueError(f"{uri} is outside this schema")


def _default_errors(root: JsonObject) -> Iterator[_Error]:
    for path, schema in schemas_with_paths(root):
        if "default" in schema:
            wrong = _refusals({**schema, "$defs": root.get("$defs", {})}, schema["default"])
            yield from (_Error((*path, "default"), message, is_default=True) for message in wrong)


def _refusals(schema: JsonObject, default: object) -> list[str]:
    """A default may lack what has a default of its own; one whose references lead elsewhere is not looked into."""
    try:
        found = list(jsonschema_rs.Draft202012Validator(schema, retriever=_refuse_address).iter_errors(default))
    except jsonschema_rs.ValidationError:
        return []
    return [error.message for error in found if error.kind.name != "required"]
