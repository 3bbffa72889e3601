"""The JSON Schemas of a definition: right ones, with defaults that they themselves would take."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn

import jsonschema_rs

DIALECT = "https://json-schema.org/draft/2020-12/schema"
META_SCHEMA = jsonschema_rs.Draft202012Validator({"$ref": DIALECT})
NAMED = ("properties", "patternProperties", "$defs", "dependentSchemas")
SINGLE = ("items", "additionalProperties", "unevaluatedProperties", "contains", "not", "if", "then", "else")
LISTED = ("prefixItems", "allOf", "anyOf", "oneOf")
Path = tuple[str | int, ...]
JsonObject = dict[str, object]


@dataclass(frozen=True, slots=True)
class SchemaError:
    """What is wrong at a path of a schema; is_default: with a default, not with the schema."""

    path: Path
    message: str
    is_default: bool = False


def schema_errors(schema: JsonObject) -> Iterator[SchemaError]:
    """What the meta-schema says; if that is nothing, what cannot be compiled; if that is nothing, wrong defaults."""
    errors = list(META_SCHEMA.iter_errors(schema)) or _compile_errors(schema)
    if errors:
        yield from (SchemaError(tuple(error.instance_path), error.message) for error in errors)
    else:
        yield from _default_errors(schema)


def _compile_errors(schema: JsonObject) -> list[jsonschema_rs.ValidationError]:
    """Patterns, references."""
    try:
        jsonschema_rs.Draft202012Validator(schema, retriever=_refuse_address)
    except jsonschema_rs.ValidationError as error:
        return [error]
    return []


def _refuse_address(uri: str) -> NoReturn:
    raise ValueError(f"{uri} is outside this schema")


def _default_errors(root: JsonObject) -> Iterator[SchemaError]:
    for path, schema in _schemas(root, ()):
        if "default" in schema:
            wrong = _refusals({**schema, "$defs": root.get("$defs", {})}, schema["default"])
            yield from (SchemaError((*path, "default"), message, is_default=True) for message in wrong)


def _refusals(schema: JsonObject, default: object) -> list[str]:
    """A default may lack what has a default of its own; one whose references lead elsewhere is not looked into."""
    try:
        found = list(jsonschema_rs.Draft202012Validator(schema, retriever=_refuse_address).iter_errors(default))
    except jsonschema_rs.ValidationError:
        return []
    return [error.message for error in found if error.kind.name != "required"]


def _schemas(schema: object, path: Path) -> Iterator[tuple[Path, JsonObject]]:
    """The schema and all below it, with their paths."""
    if not isinstance(schema, dict):
        return
    yield path, schema
    for keyword in NAMED:
        for name, child in schema.get(keyword, {}).items():
            yield from _schemas(child, (*path, keyword, name))
    for keyword in SINGLE:
        yield from _schemas(schema.get(keyword), (*path, keyword))
    for keyword in LISTED:
        for index, child in enumerate(schema.get(keyword, [])):
            yield from _schemas(child, (*path, keyword, index))
