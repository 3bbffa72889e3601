"""What keeps a policy's schema from being one, beside what a reader of definitions is told."""

from __future__ import annotations

import pytest
from gatewright_documents.schema_check import schema_mistakes
from gatewright_documents.values import JsonObject

CLOSED: JsonObject = {"additionalProperties": False, "properties": {"header": {}, "value": {}}}


def told(schema: JsonObject) -> list[str]:
    return [str(mistake) for mistake in schema_mistakes(schema, "parameters")]


def test_what_is_required_and_cannot_be_given_is_a_mistake() -> None:
    cure = "correct the name, or write the property: no other is taken"
    assert told({**CLOSED, "required": ["value", "hedaer"]}) == [
        f"parameters.required: expected one of header, value, got 'hedaer'; {cure}"
    ]
    within = {"properties": {"list": {"items": {"additionalProperties": False, "required": ["a"]}}}}
    assert told(within) == [f"parameters.properties.list.items.required: expected no name, got 'a'; {cure}"]


@pytest.mark.parametrize(
    "schema",
    [
        {**CLOSED, "required": ["header"]},
        {"properties": {"header": {}}, "required": ["hedaer"]},
        {**CLOSED, "patternProperties": {"^x-": {}}, "required": ["x-a"]},
        {**CLOSED, "anyOf": [{"required": ["header"]}, {"required": ["value"]}]},
    ],
)
def test_what_may_be_given_may_be_required(schema: JsonObject) -> None:
    assert told(schema) == []


def test_a_type_that_is_none_is_said_as_it_is_written() -> None:
    (said,) = told({"properties": {"header": {"type": "strng"}}})
    assert said.endswith("null, number, object, string, got 'strng'; fix the schema")


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"type": "strin"}, "parameters.type: expected object, got type: strin; write type: object"),
        (
            {"properties": {"a": 3}},
            'parameters.properties.a: expected a JSON Schema 2020-12, got 3 is not of types "boolean", "object"; '
            "fix the schema",
        ),
    ],
)
def test_one_mistake_is_said_once(schema: JsonObject, said: str) -> None:
    assert told(schema) == [said]
