"""Mistakes in a policy's schema, beside those that a reader of definitions reports."""

from __future__ import annotations

import pytest
from gatewright_documents.schema_check import schema_mistakes
from gatewright_documents.values import JsonObject

CLOSED: JsonObject = {"additionalProperties": False, "properties": {"header": {}, "value": {}}}


def mistakes(schema: JsonObject) -> list[str]:
    return [str(mistake) for mistake in schema_mistakes(schema, "parameters")]


def test_what_is_required_and_cannot_be_given_is_a_mistake() -> None:
    cure = "correct the name, or write the property: no other is taken"
    assert mistakes({**CLOSED, "required": ["value", "hedaer"]}) == [
        f"parameters.required: expected one of header, value, got 'hedaer'; {cure}"
    ]
    within = {"properties": {"list": {"items": {"additionalProperties": False, "required": ["a"]}}}}
    assert mistakes(within) == [f"parameters.properties.list.items.required: expected no name, got 'a'; {cure}"]


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
    assert mistakes(schema) == []


def test_an_unknown_type_is_quoted_as_it_is_written() -> None:
    (mistake,) = mistakes({"properties": {"header": {"type": "strng"}}})
    assert mistake.endswith("null, number, object, string, got 'strng'; fix the schema")


@pytest.mark.parametrize(
    ("schema", "sentence"),
    [
        ({"type": "strin"}, "parameters.type: expected object, got type: strin; write type: object"),
        (
            {"properties": {"a": 3}},
            'parameters.properties.a: expected a JSON Schema 2020-12, got 3 is not of types "boolean", "object"; '
            "fix the schema",
        ),
    ],
)
def test_one_mistake_is_reported_once(schema: JsonObject, sentence: str) -> None:
    assert mistakes(schema) == [sentence]
