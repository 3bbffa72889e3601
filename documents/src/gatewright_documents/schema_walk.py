"""Through a JSON Schema 2020-12: the keywords that hold schemas, what applies to the same value, what is below it."""

from __future__ import annotations

import copy
import functools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence

import jsonschema_rs

from gatewright_documents.values import JsonObject, JsonValue, KeyPath

IN_PLACE = ("allOf", "anyOf", "oneOf")
"""Lists of schemas for the same value."""
CONDITIONAL = ("if", "then", "else")
NAMED = ("properties", "patternProperties", "$defs", "dependentSchemas")
SINGLE = ("items", "additionalProperties", "unevaluatedProperties", "contains", "not", *CONDITIONAL)
LISTED = ("prefixItems", *IN_PLACE)


def schemas_with_paths(schema: JsonValue, path: KeyPath = ()) -> Iterator[tuple[KeyPath, JsonObject]]:
    """The schema and all that are in it, with their paths."""
    if not isinstance(schema, dict):
        return
    yield path, schema
    for keyword in NAMED:
        for name, child in schema.get(keyword, {}).items():
            yield from schemas_with_paths(child, (*path, keyword, name))
    for keyword in SINGLE:
        if keyword in schema:
            yield from schemas_with_paths(schema[keyword], (*path, keyword))
    for keyword in LISTED:
        for index, child in enumerate(schema.get(keyword, [])):
            yield from schemas_with_paths(child, (*path, keyword, index))


def formats_in(schema: JsonValue) -> frozenset[str]:
    """Each `format` that stands anywhere in the schema, also where it applies to nothing."""
    if isinstance(schema, list):
        return frozenset().union(*map(formats_in, schema))
    if not isinstance(schema, dict):
        return frozenset()
    own = [found] if isinstance(found := schema.get("format"), str) else []
    return frozenset(own).union(*map(formats_in, schema.values()))


Branches = Callable[[JsonObject], Iterable[JsonValue]]
"""Those of `if`, `then` and `else` of a schema that count."""


def _all_branches(schema: JsonObject) -> Iterable[JsonValue]:
    return map(schema.get, CONDITIONAL)


def in_place(
    schema: JsonValue, root: JsonObject, seen: frozenset[str] = frozenset(), branches: Branches = _all_branches
) -> Iterator[JsonObject]:
    """The schema and all that it applies to the same value."""
    if not isinstance(schema, dict):
        return
    yield schema
    for keyword in IN_PLACE:
        for part in schema.get(keyword, []):
            yield from in_place(part, root, seen, branches)
    for part in (*branches(schema), *schema.get("dependentSchemas", {}).values()):
        yield from in_place(part, root, seen, branches)
    reference = schema.get("$ref")
    if isinstance(reference, str) and reference not in seen:
        yield from in_place(resolved(reference, root), root, seen | {reference}, branches)


def of_key(key: str, parts: Sequence[JsonObject]) -> list[JsonValue]:
    """What may apply to an object's value at a key, of the schemas that may apply to the object."""
    found: list[JsonValue] = []
    for part in parts:
        found.append(part.get("properties", {}).get(key))
        found += [schema for pattern, schema in part.get("patternProperties", {}).items() if re.search(pattern, key)]
        found += [part.get("additionalProperties"), part.get("unevaluatedProperties")]
    return found


def of_item(index: int, parts: Sequence[JsonObject]) -> list[JsonValue]:
    """What may apply to an item of a list, of the schemas that may apply to the list."""
    found: list[JsonValue] = []
    for part in parts:
        found += part.get("prefixItems", [])[index : index + 1]
        found += [part.get(keyword) for keyword in ("items", "contains", "unevaluatedItems")]
    return found


def values_of(
    value: JsonValue, schemas: Sequence[JsonValue], root: JsonObject, format_name: str, path: KeyPath = ()
) -> Iterator[tuple[KeyPath, JsonValue]]:
    """What in a value is of this `format` by a schema that takes its type, each with its path.

    Whatever may apply to a value counts, also what does not hold; but of `then` and `else` only the one that does.
    """
    branches = functools.partial(_branch_that_holds, root=root, value=value)
    parts = [part for schema in schemas for part in in_place(schema, root, branches=branches)]
    if any(part.get("format") == format_name and _takes_type(part, value) for part in parts):
        yield path, value
    if isinstance(value, dict):
        for key, item in value.items():
            yield from values_of(item, of_key(key, parts), root, format_name, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from values_of(item, of_item(index, parts), root, format_name, (*path, index))


def _branch_that_holds(schema: JsonObject, root: JsonObject, value: JsonValue) -> Iterable[JsonValue]:
    if "if" not in schema:
        return []
    condition = {"$defs": root.get("$defs", {}), "allOf": [schema["if"]]}
    try:
        holds = jsonschema_rs.is_valid(condition, value)
    except jsonschema_rs.ValidationError:  # it refers to another part of the root than $defs
        return _all_branches(schema)
    return [schema.get("then" if holds else "else")]


def _takes_type(schema: JsonObject, value: JsonValue) -> bool:
    """Whether its `type`, where it has one, is the value's."""
    only_type = {"type": schema["type"]} if "type" in schema else {}
    return jsonschema_rs.is_valid(only_type, value)


def resolved(reference: str, root: JsonObject) -> JsonValue:
    """A reference into the schema itself; others are left to the validator, which is offline and refuses them."""
    if not reference.startswith("#"):
        return None
    found: JsonValue = root
    for step in reference[1:].split("/")[1:]:
        key = step.replace("~1", "/").replace("~0", "~")
        if not isinstance(found, dict) or key not in found:
            return None
        found = found[key]
    return found


def known_keys(schema: JsonObject, root: JsonObject) -> list[str]:
    """The properties that the schema names, sorted."""
    return sorted({key for part in in_place(schema, root) for key in part.get("properties", {})})


def closed(schema: JsonObject) -> JsonObject:
    """The schema with `unevaluatedProperties: false` wherever it lists an object's properties and says no more."""
    result = copy.deepcopy(schema)
    _close(result, result)
    for definition in result.get("$defs", {}).values():
        _close_below(definition, result)
    return result


def _close(schema: JsonValue, root: JsonObject) -> None:
    if not isinstance(schema, dict):
        return
    parts = list(in_place(schema, root))
    closed = any(key in part for part in parts for key in ("additionalProperties", "unevaluatedProperties"))
    if any("properties" in part for part in parts) and not closed:
        schema["unevaluatedProperties"] = False
    _close_below(schema, root)


def _close_below(schema: JsonValue, root: JsonObject) -> None:
    """Closes what describes the parts of the value. In-place parts stay open: the schema around them closes."""
    if not isinstance(schema, dict):
        return
    for child in _children(schema, ("properties", "patternProperties"), ("items", "additionalProperties", "contains"),
                           ("prefixItems",)):  # fmt: skip
        _close(child, root)
    for child in _children(schema, (), ("then", "else"), IN_PLACE):
        _close_below(child, root)


def _children(
    schema: JsonObject, named: Sequence[str], single: Sequence[str], several: Sequence[str]
) -> Iterator[JsonValue]:
    for keyword in named:
        yield from schema.get(keyword, {}).values()
    yield from (schema.get(keyword) for keyword in single)
    for keyword in several:
        yield from schema.get(keyword, [])
