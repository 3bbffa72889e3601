from __future__ import annotations

import copy
import json

import pytest
from gatewright_documents.schema import Schema
from gatewright_documents.schema_check import schema_mistakes
from gatewright_documents.secret_masks import MASK
from gatewright_documents.values import JsonObject, JsonValue
from hypothesis import given
from hypothesis import strategies as st

SECRET: JsonObject = {"type": "string", "format": "secret", "minLength": 4, "pattern": "^[a-z-]+$", "x-cure": "fix it"}
DOCUMENT: JsonObject = {
    "type": "object",
    "required": ["key"],
    "properties": {
        "key": SECRET,
        "keys": {"type": "array", "items": {"properties": {"id": {"type": "string"}, "key": {"$ref": "#/$defs/key"}}}},
        "headers": {"type": "object", "additionalProperties": {"type": "string", "format": "secret"}},
        "either": {"anyOf": [{"type": "boolean"}, {"properties": {"pin": {"type": "string", "format": "secret"}}}]},
        "pair": {"prefixItems": [{"type": "string"}, {"type": "string", "format": "secret"}]},
        "hidden": {"type": "string", "format": "secret", "writeOnly": True},
        "default": {"type": "string", "format": "secret", "default": "text-by-default"},
        "free": {"type": "object"},
    },
    "$defs": {"key": {"type": "string", "format": "secret"}},
}
SCHEMA = Schema(copy.deepcopy(DOCUMENT))
REFERENCE: JsonObject = {"secretRef": "upstream-key"}


def mistakes(value: JsonValue) -> list[str]:
    return [str(mistake) for mistake in SCHEMA.parameter_mistakes(value, "params")]


@pytest.mark.parametrize("name", ["a", "upstream-key", "a.b_c-1", "0", "a" * 253, "pay/key", "a-b/c.d_e"])
def test_text_and_references_are_taken(name: str) -> None:
    reference = {"secretRef": name}
    assert mistakes({"key": "text", "keys": [{"id": "a", "key": "b"}], "headers": {"x": "y"}, "pair": ["a", "b"]}) == []
    value = {"key": reference, "keys": [{"id": "a", "key": reference}], "headers": {"x": reference},
             "either": {"pin": reference}, "pair": ["a", reference]}  # fmt: skip
    assert mistakes(value) == []


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({}, ["params.key: expected text or {secretRef: NAME}, got nothing; fix it"]),
        ({"key": "hex"}, ["params.key: expected at least 4 characters, got '********'; fix it"]),
        ({"key": 12345}, ["params.key: expected text or {secretRef: NAME}, got '********'"]),
        ({"key": {"secretRef": "../etc/passwd"}},
         ["params.key: expected a name of lower-case letters, digits, -, _ and . that begins with a letter or "
          "digit, got '********'; name the secret's file, or the controller's Secret and its key as NAME/KEY"]),
        ({"key": {"secretRef": "..data"}}, ["params.key"]),
        ({"key": {"secretRef": "Upper"}}, ["params.key"]),
        ({"key": {"secretRef": "a/b/c"}}, ["params.key"]),
        ({"key": {"secretRef": "a.b/c"}}, ["params.key"]),
        ({"key": {"secretRef": "a/"}}, ["params.key"]),
        ({"key": {"secretRef": "/a"}}, ["params.key"]),
        ({"key": {"secretRef": ""}}, ["params.key"]),
        ({"key": {"secretRef": "a\n"}}, ["params.key"]),
        ({"key": {"secretRef": "a" * 254}}, ["params.key"]),
        ({"key": {"secretRef": 1}}, ["params.key"]),
        ({"key": {"secretRef": "a", "value": "hunter2"}},
         ["params.key: expected text or {secretRef: NAME}, got an object with other keys"]),
        ({"key": {"value": "hunter2"}},
         ["params.key: expected text or {secretRef: NAME}, got an object with other keys; name the secret by "
          "secretRef alone"]),
        ({"key": {}}, ["params.key: expected text or {secretRef: NAME}, got an object without keys; name the secret"]),
        ({"key": REFERENCE, "free": {"deep": [REFERENCE]}},
         ["params.free.deep[0]: expected no reference to a secret, got secretRef; write the value itself: its schema "
          "says of no secret there (format: secret)"]),
        ({"key": REFERENCE, "free": {"secretRef": "", "value": "x"}}, ["params.free"]),
        ({"key": REFERENCE, "keys": [{"id": REFERENCE}]}, ["params.keys[0].id", "params.keys[0].id"]),
    ],
)  # fmt: skip
def test_what_is_refused(value: JsonValue, expected: list[str]) -> None:
    found = mistakes(value)
    assert len(found) == len(expected)
    for mistake, start in zip(sorted(found), sorted(expected), strict=True):
        assert mistake.startswith(start)
        assert "hunter2" not in mistake


@pytest.mark.parametrize("key", ["secretref", "SecretRef", "secret_ref", "secret-ref", "secretRefs", "secret"])
@pytest.mark.parametrize("hide_values", [False, True])
def test_a_key_that_is_meant_as_secret_ref_is_named(key: str, hide_values: bool) -> None:
    message = f"expected text or {{secretRef: NAME}}, got an object with {key!r}; write secretRef"
    value: JsonValue = {"key": {key: "hunter2"}, "either": {"pin": {key: "hunter2"}}, "keys": [{"key": {key: 1}}]}
    found = [str(mistake) for mistake in SCHEMA.parameter_mistakes(value, "params", hide_values=hide_values)]
    assert sorted(found) == [f"params.{field}: {message}" for field in ("either.pin", "key", "keys[0].key")]


def test_nodes_get_text_and_references_in_one_form() -> None:
    value = {"key": "text", "keys": [{"id": "a", "key": REFERENCE}], "headers": {"x": "y"}, "pair": ["a", "b"]}
    assert SCHEMA.for_nodes(SCHEMA.with_defaults(value)) == {
        "key": {"secretRef": "", "value": "text"},
        "keys": [{"id": "a", "key": REFERENCE}],
        "headers": {"x": {"secretRef": "", "value": "y"}},
        "pair": ["a", {"secretRef": "", "value": "b"}],
        "default": {"secretRef": "", "value": "text-by-default"},
    }


@given(
    st.sampled_from(
        [
            REFERENCE,
            "hunter2",
            {"secretRef": "hunter2", "value": "x"},
            {"secretRef": "/hunter2"},
            {"secretRef": "a hunter2"},
            12345,
        ]
    )
)
def test_a_reference_is_shown_and_nothing_else(secret: JsonValue) -> None:
    shown = SCHEMA.masked({"key": secret, "headers": {"x": secret}, "hidden": secret})
    expected = secret if secret == REFERENCE else MASK
    assert shown == {"key": expected, "headers": {"x": expected}, "hidden": MASK}
    assert "hunter2" not in json.dumps(shown)


def test_masks_stand_for_what_is_stored_and_references_for_themselves() -> None:
    stored = {"key": "text", "headers": {"a": "hunter2", "b": REFERENCE}}
    assert SCHEMA.restored(SCHEMA.masked(stored), stored) == stored
    assert SCHEMA.restored({"key": REFERENCE}, stored) == {"key": REFERENCE}
    assert SCHEMA.restored({"headers": {"b": MASK}}, stored) == {"headers": {"b": MASK}}


def test_the_schema_itself_is_shown_as_its_author_wrote_it() -> None:
    assert SCHEMA.document["properties"]["key"] == SECRET


@pytest.mark.parametrize("schema", [{"format": "secret"}, {"format": "secret", "type": ["string", "null"]}])
def test_a_secret_is_a_string(schema: JsonObject) -> None:
    (mistake,) = schema_mistakes({"type": "object", "properties": {"key": schema}}, "parameters")
    assert str(mistake).startswith("parameters.properties.key.type: expected string beside format: secret, got ")


def test_a_secret_that_another_key_brings_is_one_too() -> None:
    secret = {"key": {"type": "string", "format": "secret"}}
    by_key = Schema(
        {"type": "object", "properties": {"mode": {}}, "dependentSchemas": {"mode": {"properties": secret}}}
    )
    assert by_key.masked({"mode": 1, "key": "text"}) == {"mode": 1, "key": "********"}
    assert by_key.for_nodes({"mode": 1, "key": "text"}) == {"mode": 1, "key": {"secretRef": "", "value": "text"}}
    assert list(by_key.parameter_mistakes({"mode": 1, "key": {"secretRef": "name"}}, "params")) == []
