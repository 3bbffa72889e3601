"""JSON Schemas as editors take them: of the very structs that documents are held to, with what is said about fields.

They refuse what is wrong by itself, a key, a type, a value; what fields say together is for the reader of a document.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import jsonschema_rs
import msgspec
from msgspec import inspect as shapes

from gatewright_documents.field_docs import field_docs
from gatewright_documents.schema_check import DIALECT
from gatewright_documents.values import JsonObject, JsonValue

EXAMPLE = re.compile(r"'([^']+)'|(?:like|such as|or) ([^\s,;:']+)")
"""How our own words about a value name one that it may have."""


def editor_schema(kind: type[msgspec.Struct], title: str) -> JsonObject:
    """The schema of a document that becomes this struct, on its own: it refers to no other document."""
    schema: JsonObject = msgspec.json.schema(kind)
    definitions: JsonObject = schema["$defs"]
    for struct in _structs(shapes.type_info(kind)):
        _describe(definitions[struct.cls.__name__], struct)
    return document_schema({"$ref": schema["$ref"], "$defs": definitions}, title)


def component_schemas(types: Sequence[Any], place: str) -> tuple[list[JsonObject], JsonObject]:
    """The schema of each type, and those of all structs in them by name, to which they refer at `place`, such as
    `#/components/schemas/{name}`."""
    schemas, components = msgspec.json.schema_components(types, ref_template=place)
    for shape in shapes.multi_type_info(types):
        for struct in _structs(shape):
            _describe(components[struct.cls.__name__], struct)
    worded, worded_components = _worded(list(schemas)), _worded(components)
    assert isinstance(worded, list)
    assert isinstance(worded_components, dict)
    return worded, worded_components


def document_schema(schema: JsonObject, title: str) -> JsonObject:
    """A schema as a whole document: with its dialect and title, our own keywords as words and examples."""
    worded = _worded(schema)
    assert isinstance(worded, dict)
    return {"$schema": DIALECT, "title": title, **worded}


def _structs(shape: shapes.Type, known: set[type] | None = None) -> Iterator[shapes.StructType]:
    """All that are in a type, each once."""
    known = set() if known is None else known
    match shape:
        case shapes.Metadata(type=inner) | shapes.ListType(item_type=inner) | shapes.VarTupleType(item_type=inner):
            yield from _structs(inner, known)
        case shapes.UnionType(types=several):
            for alternative in several:
                yield from _structs(alternative, known)
        case shapes.DictType(value_type=inner):
            yield from _structs(inner, known)
        case shapes.StructType() if shape.cls not in known:
            known.add(shape.cls)
            yield shape
            for field in shape.fields:
                yield from _structs(field.type, known)


def _describe(schema: JsonObject, struct: shapes.StructType) -> None:
    docs = field_docs(struct.cls)
    for field in struct.fields:
        if text := docs.get(field.name):
            schema["properties"][field.encode_name]["description"] = " ".join(text.split())


def _worded(schema: JsonValue) -> JsonValue:
    """Our own keywords as `description` and `examples`, which editors show."""
    if isinstance(schema, list):
        return [_worded(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    plain = {key: _worded(value) for key, value in schema.items() if not key.startswith("x-")}
    if plain.get("default") == "":  # that it is not there
        del plain["default"]
    expected, cure = schema.get("x-expected", ""), schema.get("x-cure", "")
    if not expected:
        return plain
    description = "\n\n".join([*([plain["description"]] if "description" in plain else []), f"Expected: {expected}."])
    examples = [text for text in _examples(f"{expected}; {cure}") if _takes(plain, text)] if "pattern" in plain else []
    return {**plain, "description": description, **({"examples": examples} if examples else {})}


def _examples(words: str) -> list[str]:
    return list(dict.fromkeys(quoted or plain for quoted, plain in EXAMPLE.findall(words)))


def _takes(schema: JsonObject, value: str) -> bool:
    own: JsonObject = {key: schema[key] for key in ("type", "pattern", "minLength", "maxLength") if key in schema}
    return bool(jsonschema_rs.Draft202012Validator(own).is_valid(value))
