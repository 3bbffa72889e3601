"""What a schema calls a secret (`writeOnly: true`, `format: password`, `format: secret`): a mask, and the way back."""

from __future__ import annotations

import bisect
import copy
import json
from collections.abc import Mapping, Sequence

from gatewright_documents.schema_walk import formats_in, in_place, of_item, of_key
from gatewright_documents.secret_references import FORMAT, is_reference, is_secret
from gatewright_documents.values import JsonObject, JsonValue

MASK = "********"
"""Stands for a value that is written and never shown."""


def may_have_secrets(schema: JsonValue) -> bool:
    """Whether the schema says of a secret anywhere, also where it applies to nothing."""
    return not formats_in(schema).isdisjoint(("password", FORMAT)) or _has_write_only(schema)


def _has_write_only(schema: JsonValue) -> bool:
    if isinstance(schema, dict):
        return schema.get("writeOnly") is True or any(map(_has_write_only, schema.values()))
    return isinstance(schema, list) and any(map(_has_write_only, schema))


def masked(value: JsonValue, schemas: Sequence[JsonValue], root: JsonObject) -> JsonValue:
    """A copy of the value with the mask in the place of each secret.

    Whatever may apply to a value counts, also a branch that does not hold: better a mask too many than a secret.
    """
    parts = [part for schema in schemas for part in in_place(schema, root)]
    if any(part.get("writeOnly") is True or part.get("format") == "password" for part in parts):
        return MASK
    if is_secret(parts):
        return copy.deepcopy(value) if is_reference(value) else MASK
    if isinstance(value, dict):
        return {key: masked(item, of_key(key, parts), root) for key, item in value.items()}
    if isinstance(value, list):
        return [masked(item, of_item(index, parts), root) for index, item in enumerate(value)]
    return value


def without_values(value: JsonValue, schemas: Sequence[JsonValue], root: JsonObject) -> JsonValue:
    """A mask for each value that holds no others, and for each object whose keys are not the schema's own."""
    parts = [part for schema in schemas for part in in_place(schema, root)]
    if isinstance(value, list):
        return [without_values(item, of_item(index, parts), root) for index, item in enumerate(value)]
    if not isinstance(value, dict):
        return MASK
    named = {key for part in parts for key in part.get("properties", {})}
    return {key: without_values(item, of_key(key, parts), root) for key, item in value.items() if key in named}


def restored(value: JsonValue, stored: JsonValue, public: JsonValue, stored_public: JsonValue) -> JsonValue:
    """`public` and `stored_public` are what of both is shown: where the first is a mask, the value is a secret."""
    if public == MASK:
        return stored if value == MASK and stored_public == MASK else value
    if isinstance(value, dict) and isinstance(stored, dict):
        return {
            key: restored(item, stored[key], public[key], stored_public[key]) if key in stored else item
            for key, item in value.items()
        }
    if isinstance(value, list) and isinstance(stored, list):
        return _restored_items(value, stored, stored_public)
    return value


def _restored_items(value: list[JsonValue], stored: list[JsonValue], stored_public: list[JsonValue]) -> list[JsonValue]:
    """Each item as the stored one that looks like it; of several, the one in the same place if it does."""
    alike: dict[str, list[int]] = {}
    for at, public in enumerate(stored_public):
        alike.setdefault(_canonical(public), []).append(at)
    return [_restored_item(index, item, stored, alike) for index, item in enumerate(value)]


def _restored_item(index: int, item: JsonValue, stored: list[JsonValue], alike: Mapping[str, list[int]]) -> JsonValue:
    places = alike.get(_canonical(item), [])
    if len(places) == 1:
        return stored[places[0]]
    found = bisect.bisect_left(places, index)
    return stored[index] if found < len(places) and places[found] == index else item


def _canonical(value: JsonValue) -> str:
    return json.dumps(value, sort_keys=True)
