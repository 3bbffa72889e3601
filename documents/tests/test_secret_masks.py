from __future__ import annotations

import json

import pytest
from gatewright_documents.schema import Schema
from gatewright_documents.secret_masks import MASK
from gatewright_documents.values import JsonObject, JsonValue
from hypothesis import given
from hypothesis import strategies as st

NESTED = Schema(
    {
        "type": "object",
        "properties": {
            "user": {"type": "string"},
            "token": {"$ref": "#/$defs/secret"},
            "keys": {
                "type": "array",
                "items": {"properties": {"id": {"type": "string"}, "key": {"type": "string", "format": "password"}}},
            },
            "either": {
                "anyOf": [{"properties": {"kind": {"const": "a"}}}, {"properties": {"pin": {"writeOnly": True}}}]
            },
            "headers": {"type": "object", "additionalProperties": {"type": "string", "writeOnly": True}},
            "pair": {"prefixItems": [{"type": "string"}, {"type": "string", "writeOnly": True}]},
            "all": {"type": "object", "writeOnly": True},
        },
        "$defs": {"secret": {"type": "string", "writeOnly": True}},
    }
)
PUBLIC, HIDDEN = st.sampled_from(["a", "b", "c"]), st.sampled_from(["s3cret-1", "s3cret-2", "s3cret-3"])
VALUES = st.fixed_dictionaries(
    {},
    optional={
        "user": PUBLIC,
        "token": HIDDEN,
        "keys": st.lists(st.fixed_dictionaries({"id": PUBLIC}, optional={"key": HIDDEN}), max_size=3),
        "either": st.fixed_dictionaries({"pin": HIDDEN}),
        "headers": st.dictionaries(PUBLIC, HIDDEN, max_size=2),
        "pair": st.tuples(PUBLIC, HIDDEN).map(list),
        "all": st.dictionaries(PUBLIC, HIDDEN, max_size=2),
    },
)


@given(VALUES)
def test_a_mask_shows_nothing_and_stands_for_what_is_stored(value: JsonObject) -> None:
    shown = NESTED.masked(value)
    assert "s3cret" not in json.dumps(shown)
    assert NESTED.restored(shown, value) == value


@given(VALUES, VALUES)
def test_a_secret_is_restored_in_no_other_place(sent: JsonObject, stored: JsonObject) -> None:
    """Beside keys of the same name, only an item that looks the same brings its secret."""
    filled = NESTED.restored(NESTED.masked(sent), stored)
    assert NESTED.masked(filled) == NESTED.masked(sent)
    pairs = {(entry["id"], entry["key"]) for entry in stored.get("keys", []) if "key" in entry} | {("", MASK)}
    for item in filled.get("keys", []):
        if "key" in item:
            assert (item["id"], item["key"]) in pairs | {(item["id"], MASK)}


def test_of_items_that_look_alike_each_keeps_its_own_secret() -> None:
    """By its place. Where another item stands there now, the mask could be of either, and it stays."""
    stored: JsonObject = {"keys": [{"id": "a", "key": "1"}, {"id": "b", "key": "2"}, {"id": "a", "key": "3"}]}
    masked: JsonObject = NESTED.masked(stored)
    assert NESTED.restored(masked, stored) == stored
    moved = {"keys": [masked["keys"][1], masked["keys"][2], masked["keys"][0]]}
    assert NESTED.restored(moved, stored) == {
        "keys": [{"id": "b", "key": "2"}, {"id": "a", "key": MASK}, {"id": "a", "key": "3"}]
    }


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ({"token": 987654}, "params.token: expected a string, got '********'"),
        ({"keys": [{"key": 987654}]}, "params.keys[0].key: expected a string, got '********'"),
        ({"all": "987654"}, "params.all: expected an object, got '********'"),
        ({"headers": {"x": 987654}}, "params.headers.x: expected a string, got '********'"),
    ],
)
def test_a_mistake_does_not_show_the_secret_that_is_wrong(value: JsonValue, sentence: str) -> None:
    assert [str(mistake) for mistake in NESTED.mistakes(value, "params")] == [sentence]


@given(VALUES, VALUES)
def test_what_is_sent_without_a_mask_stays_as_it_is(sent: JsonObject, stored: JsonObject) -> None:
    assert NESTED.restored(sent, stored) == sent
