"""Parameters of `format: json-schema`: what keeps one from being a JSON Schema, and where."""

from __future__ import annotations

import json

import pytest
from gatewright_documents.parameter_schemas import mistakes_in
from gatewright_documents.schema import Schema
from gatewright_documents.values import JsonObject, JsonValue

TYPES = "expected one or a list of array, boolean, integer, null, number, object, string"
PATTERN = "expected a pattern of Rust's regex: without look-around, references back and counts that make it large"
CURE = "write what it names below $defs, and refer to that"
SEVEN = "http://json-schema.org/draft-07/schema#"
TAKES_ONE = Schema({"properties": {"schema": {"type": ["object", "boolean", "string"], "format": "json-schema"}}})


def mistakes(schema: JsonValue) -> list[str]:
    return [str(mistake) for mistake in mistakes_in(schema, "schema")]


@pytest.mark.parametrize("schema", [
    {}, True, False, {"type": ["string", "null"]}, {"properties": {"$ref": {"type": "string"}}},
    {"$schema": "https://json-schema.org/draft/2020-12/schema", "$defs": {"a": {}}, "$ref": "#/$defs/a"},
    {"$schema": SEVEN, "items": [{"type": "string"}]}, {"$schema": SEVEN.rstrip("#"), "$ref": "#"},
    {"$schema": "http://json-schema.org/draft-04/schema#", "minimum": 1, "exclusiveMinimum": True},
    {"$id": "https://example.com/a", "$defs": {"b": {"$id": "b"}}, "$ref": "b"}, {"pattern": "^[a-z]+$"}, {"x-own": 1},
    '{"type": "string"}', {"$ref": "#"}, {"format": "regex"},
])  # fmt: skip
def test_what_is_a_schema_is_taken(schema: JsonValue) -> None:
    assert mistakes(schema) == []


@pytest.mark.parametrize(("schema", "expected"), [
    ({"type": "objekt"}, f"schema.type: {TYPES}, got 'objekt'"),
    ({"properties": {"a": {"type": "x"}, "type": 3}, "required": "a"},
     [f"schema.properties.a.type: {TYPES}, got 'x'", "schema.required: expected an array, got 'a'",
      "schema.properties.type: expected true or false or an object, got 3"]),
    ({"minLength": -1}, "schema.minLength: expected at least 0, got -1"),
    ({"$schema": SEVEN, "items": {"type": "objekt"}}, f"schema.items.type: {TYPES}, got 'objekt'"),
    ({"$schema": SEVEN, "exclusiveMinimum": True}, "schema.exclusiveMinimum: expected a number, got true"),
    ({"properties": {"a b": {"pattern": "(?=a)"}}}, f'schema.properties["a b"].pattern: {PATTERN}, got \'(?=a)\''),
    ({"pattern": "("}, f"schema.pattern: {PATTERN}, got '('"),
    ({"pattern": "(a{999}){999}"}, f"schema.pattern: {PATTERN}, got '(a{{999}}){{999}}'"),
    ({"patternProperties": {"(?=a)": {}}}, f"schema.patternProperties[\"(?=a)\"]: {PATTERN}, got '(?=a)'"),
    ({"items": {"$ref": "#/$defs/no"}}, f"schema.items.$ref: expected a part of this schema, got '#/$defs/no'; {CURE}"),
    ({"allOf": [{"$ref": "http://example.com/x#/y"}]},
     f"schema.allOf[0].$ref: expected a part of this schema, got 'http://example.com/x#/y'; {CURE}"),
    ({"items": {"$id": "http://[::"}}, "schema: Invalid URI reference 'http://[::': unexpected character at index 10"),
    ({"$defs": {"a": {"$ref": "#/$defs/n"}, "n": {}}, "items": {"$ref": "#/$defs/no"}},
     f"schema.items.$ref: expected a part of this schema, got '#/$defs/no'; {CURE}"),
])  # fmt: skip
def test_each_mistake_is_reported_at_its_place(schema: JsonObject, expected: str | list[str]) -> None:
    assert sorted(mistakes(schema)) == sorted([expected] if isinstance(expected, str) else expected)


@pytest.mark.parametrize("draft", ["http://json-schema.org/draft-03/schema#", "draft-07", 7, None])
def test_an_unknown_draft_is_not_read_as_another(draft: JsonValue) -> None:
    (mistake,) = mistakes({"$schema": draft, "type": "objekt"})
    assert mistake.startswith("schema.$schema: expected http://json-schema.org/draft-04/schema#, ")
    assert mistake.endswith("; or leave it out")


def test_mistakes_in_a_json_text_name_the_place_in_it() -> None:
    assert mistakes(json.dumps({"properties": {"a": {"minimum": "3"}}})) == [
        "schema: properties.a.minimum: expected a number, got '3'"
    ]
    assert mistakes('{"type": }') == [
        "schema: expected a JSON document: Expecting value: line 1 column 10 (char 9); fix the syntax"
    ]
    assert mistakes('{"type": "object", "type": "array"}')[0].startswith("schema: expected each key once in an object")
    assert mistakes("[1]")[0].startswith("schema: expected a JSON Schema")
    assert "nested at most 100 deep" in mistakes("[" * 100_000)[0]


def test_the_definition_says_which_parameters_are_schemas() -> None:
    wrong = {"type": "objekt"}
    assert [str(mistake) for mistake in TAKES_ONE.parameter_mistakes({"schema": wrong}, "params")] == [
        f"params.schema.type: {TYPES}, got 'objekt'"
    ]
    either = {"oneOf": [{"type": "object", "format": "json-schema"}, {"type": "string"}]}
    by_type = Schema({"properties": {"schema": either, "plain": {"type": "object"}}})
    assert list(by_type.parameter_mistakes({"schema": "no JSON", "plain": wrong}, "params")) == []
    assert len(list(by_type.parameter_mistakes({"schema": wrong}, "params"))) == 1
    assert [str(mistake) for mistake in TAKES_ONE.parameter_mistakes({"schema": 3}, "params")] == [
        "params.schema: expected true or false, a string or an object, got 3"
    ]


def test_mistakes_in_a_hidden_schema_do_not_quote_it() -> None:
    hidden = Schema({"properties": {"schema": {"type": "object", "format": "json-schema", "writeOnly": True}}})
    expected = ["params.schema: expected a JSON Schema, got something else; fix it"]
    value: JsonObject = {"schema": {"properties": {"secret": {"type": "objekt"}}}}
    assert [str(mistake) for mistake in hidden.parameter_mistakes(value, "params")] == expected
    assert [str(mistake) for mistake in TAKES_ONE.parameter_mistakes(value, "params", hide_values=True)] == expected
