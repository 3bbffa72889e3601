"""What a schema puts where a value says nothing."""

from __future__ import annotations

from collections.abc import Iterator

from gatewright_documents.schema_walk import resolved
from gatewright_documents.values import JsonObject, JsonValue


def with_defaults(value: JsonValue, schema: JsonValue, root: JsonObject) -> JsonValue:
    """A copy of `value` in which what is missing has the default of `schema`, a part of the whole schema `root`."""
    return _filled(_copy(value), schema, root)


def _copy(value: JsonValue) -> JsonValue:
    """As `copy.deepcopy`, in a fifth of its time: a JSON value has no part twice."""
    if isinstance(value, dict):
        return {name: _copy(item) for name, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value


def _filled(value: JsonValue, schema: JsonValue, root: JsonObject) -> JsonValue:
    for part in _certain(schema, root):
        if isinstance(value, dict):
            _fill_object(value, part, root)
        elif isinstance(value, list) and "items" in part:
            value = [_filled(item, part["items"], root) for item in value]
    return value


def _fill_object(value: JsonObject, schema: JsonObject, root: JsonObject) -> None:
    for name, child in schema.get("properties", {}).items():
        if name not in value and isinstance(child, dict) and "default" in child:
            value[name] = _copy(child["default"])
        if name in value:
            value[name] = _filled(value[name], child, root)


def _certain(schema: JsonValue, root: JsonObject, seen: frozenset[str] = frozenset()) -> Iterator[JsonObject]:
    """What surely holds for the value. A default in a branch that may not apply is not applied."""
    if not isinstance(schema, dict):
        return
    yield schema
    for part in schema.get("allOf", []):
        yield from _certain(part, root, seen)
    reference = schema.get("$ref")
    if isinstance(reference, str) and reference not in seen:
        yield from _certain(resolved(reference, root), root, seen | {reference})
