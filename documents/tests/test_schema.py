from __future__ import annotations

import pytest
from gatewright_documents.schema import Schema
from gatewright_documents.values import JsonObject, JsonValue


def mistakes(schema: JsonObject, value: JsonValue) -> list[str]:
    return [str(mistake) for mistake in Schema(schema).mistakes(value, "params")]


def test_defaults_are_applied_at_every_depth_and_nowhere_else() -> None:
    schema = Schema(
        {
            "properties": {
                "a": {"default": 1},
                "o": {"default": {}, "properties": {"b": {"default": [2]}}},
                "p": {"properties": {"c": {"default": 3}}},
                "l": {"items": {"$ref": "#/$defs/item"}},
            },
            "allOf": [{"properties": {"e": {"default": 5}}}],
            "anyOf": [{"properties": {"f": {"default": 6}}}, True],
            "$defs": {"item": {"properties": {"d": {"default": 4}}}},
        }
    )
    params: JsonObject = {"l": [{}, {"d": 0}]}
    assert schema.with_defaults(params) == {"a": 1, "o": {"b": [2]}, "l": [{"d": 4}, {"d": 0}], "e": 5}
    assert params == {"l": [{}, {"d": 0}]}


def test_two_values_do_not_share_a_default() -> None:
    schema = Schema({"properties": {"a": {"default": []}}})
    schema.with_defaults({})["a"].append(1)
    assert schema.with_defaults({}) == {"a": []}


def test_unknown_keys_are_refused_unless_the_schema_allows_them() -> None:
    nested: JsonObject = {"properties": {"o": {"properties": {"a": {}}}, "free": {"type": "object"}}}
    assert mistakes(nested, {"o": {"b": 1}, "free": {"x": 1}, "c": 1}) == [
        "params.o.b: expected one of a, got 'b'; remove it or correct its name",
        "params.c: expected one of free, o, got 'c'; remove it or correct its name",
    ]
    assert not mistakes({"properties": {"a": {}}, "additionalProperties": True}, {"b": 1})
    assert mistakes({"additionalProperties": {"type": "string"}, "properties": {}}, {"b": 1})
    assert not mistakes({"patternProperties": {"^x-": {}}, "properties": {}}, {"x-a": 1})


def test_a_key_of_digits_is_a_key() -> None:
    lifetimes: JsonObject = {"additionalProperties": {"type": "integer"}, "properties": {}}
    assert mistakes(lifetimes, {"200": "30s"}) == ["""params["200"]: expected a whole number, got '30s'"""]
    inside: JsonObject = {"additionalProperties": {"properties": {"a": {"type": "integer"}}}, "properties": {}}
    assert mistakes(inside, {"7": {"a": ""}}) == ["""params["7"].a: expected a whole number, got ''"""]


def test_a_mistake_against_a_pattern_has_an_example() -> None:
    pattern: JsonObject = {"type": "string", "pattern": "^[1-9][smh]$"}
    assert mistakes({"items": pattern}, ["minute"]) == [
        "params[0]: expected text that matches ^[1-9][smh]$, got 'minute'"
    ]
    wanted = "expected text such as '1m', that matches ^[1-9][smh]$"
    assert mistakes({"items": pattern | {"examples": ["1m"]}}, ["minute"]) == [f"params[0]: {wanted}, got 'minute'"]
    assert mistakes({"items": pattern | {"examples": ["1m"]}}, [1]) == ["params[0]: expected a string, got 1"]


def test_a_mistake_against_not_names_what_is_excluded() -> None:
    excluded: JsonObject = {"items": {"not": {"const": "*"}}}
    assert mistakes(excluded, ["*"]) == ["""params[0]: expected what {"const": "*"} does not take, got '*'"""]
    excluded["items"] |= {"x-expected": "an origin by its name", "x-cure": "name them"}
    assert mistakes(excluded, ["*"]) == ["params[0]: expected an origin by its name, got '*'; name them"]


def test_unknown_keys_are_refused_across_combined_and_referred_schemas() -> None:
    combined: JsonObject = {
        "$ref": "#/$defs/base",
        "allOf": [{"properties": {"b": {"$ref": "#/$defs/base"}}}],
        "$defs": {"base": {"properties": {"a": {"type": "integer"}}}},
    }
    assert not mistakes(combined, {"a": 1, "b": {"a": 2}})
    assert mistakes(combined, {"c": 1}) == ["params.c: expected one of a, b, got 'c'; remove it or correct its name"]
    assert mistakes(combined, {"b": {"c": 1}}) == [
        "params.b.c: expected one of a, got 'c'; remove it or correct its name"
    ]


def test_a_wrong_value_is_not_also_called_unknown() -> None:
    assert mistakes({"properties": {"a": {"type": "string"}}}, {"a": 1}) == ["params.a: expected a string, got 1"]


def test_one_mistake_is_reported_once() -> None:
    """Even if several parts of a schema require the same, or its listed values imply the type."""
    text: JsonObject = {"properties": {"a": {"type": "string"}}}
    assert mistakes({**text, "allOf": [text]}, {"a": 1}) == ["params.a: expected a string, got 1"]
    assert mistakes({"properties": {"a": {"type": "string", "enum": ["x", "y"]}}}, {"a": 1}) == [
        "params.a: expected 'x' or 'y', got 1"
    ]
    assert mistakes({"properties": {"a": {"type": "string", "const": "x"}}}, {"a": 1}) == [
        "params.a: expected 'x', got 1"
    ]
    assert mistakes({"properties": {"a": {"type": "string", "enum": [1]}}}, {"a": 1}) == [
        "params.a: expected a string, got 1"
    ]


def test_no_schema_takes_no_parameters() -> None:
    assert [str(mistake) for mistake in Schema(None).mistakes({"a": 1}, "params")] == [
        "params.a: expected no key, got 'a'; remove it or correct its name"
    ]


@pytest.mark.parametrize(
    ("schema", "value", "expected"),
    [
        (
            {"type": "object", "additionalProperties": False},
            {"word": "x", "b": 1},
            [
                "params.b: expected no key, got 'b'; remove it or correct its name",
                "params.word: expected no key, got 'word'; remove it or correct its name",
            ],
        ),
        (
            {"properties": {"inner": {"type": "object", "additionalProperties": False}}},
            {"inner": {"q": 1}},
            ["params.inner.q: expected no key, got 'q'; remove it or correct its name"],
        ),
        ({"properties": {"a": False}}, {"a": 1}, ["params.a: expected nothing, got 1"]),
        (
            {"properties": {"list": {"items": False}}},
            {"list": [1]},
            ["params.list[0]: expected nothing, got 1"],
        ),
    ],
)
def test_what_a_schema_refuses_altogether_is_named(schema: JsonObject, value: JsonObject, expected: list[str]) -> None:
    assert [str(mistake) for mistake in Schema(schema).mistakes(value, "params")] == expected


def test_keys_within_what_is_hidden_are_not_named() -> None:
    schema: JsonObject = {"properties": {"inner": {"type": "object", "additionalProperties": False, "writeOnly": True}}}
    (mistake,) = Schema(schema).mistakes({"inner": {"secret-word": 1}}, "params")
    assert "secret-word" not in str(mistake)


def test_the_branch_that_was_meant_names_the_mistakes() -> None:
    schema: JsonObject = {"properties": {"a": {"oneOf": [{"type": "string"}, {"type": "object", "required": ["x"]}]}}}
    assert mistakes(schema, {"a": {}}) == ["params.a.x: expected a value, got nothing"]


@pytest.mark.parametrize(
    ("keyword", "value", "expected"),
    [
        ("oneOf", {}, "expected exactly one of tokens, money, got none"),
        (
            "oneOf",
            {"tokens": 1, "money": 2},
            "expected exactly one of tokens, money, got tokens and money; remove all but one",
        ),
        ("anyOf", {}, "expected at least one of tokens, money, got none"),
    ],
)
def test_a_choice_between_keys_names_them(keyword: str, value: JsonObject, expected: str) -> None:
    keys: JsonObject = {"tokens": {"type": "integer"}, "money": {"type": "integer"}}
    choice: JsonObject = {"properties": keys, keyword: [{"required": ["tokens"]}, {"required": ["money"]}]}
    assert mistakes({"properties": {"a": choice}}, {"a": value}) == [f"params.a: {expected}"]
    hidden: JsonObject = {"properties": {"a": {**choice, "writeOnly": True}}}
    (mistake,) = mistakes(hidden, {"a": value})
    assert "got tokens" not in mistake


SOURCE: JsonObject = {
    "type": "object",
    "additionalProperties": False,
    "required": ["from"],
    "properties": {"from": {"enum": ["subject", "header"]}, "name": {"type": "string"}},
    "if": {"properties": {"from": {"const": "header"}}},
    "then": {"required": ["name"]},
    "else": {"properties": {"name": False}},
}
WRONG = "from: expected 'subject' or 'header', got"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"from": "heder", "name": "x"}, [f"{WRONG} 'heder'"]),
        ({"from": 1, "name": "x"}, [f"{WRONG} 1"]),
        ({"name": "x"}, [f"{WRONG} nothing"]),
        ({}, [f"{WRONG} nothing"]),
        ({"from": "heder", "name": 1}, [f"{WRONG} 'heder'", "name: expected a string, got 1"]),
        ({"from": "subject", "name": "x"}, ["name: expected nothing, got 'x'"]),
        ({"from": "header"}, ["name: expected a value, got nothing"]),
        ({"from": "header", "name": 1}, ["name: expected a string, got 1"]),
    ],
)
def test_a_branch_has_no_mistakes_where_its_condition_is_one(value: JsonObject, expected: list[str]) -> None:
    """The author's next word may be the other branch's."""
    root: JsonObject = {"properties": {"a": {"type": "array", "items": {"$ref": "#/$defs/source"}}}}
    found = mistakes(root | {"$defs": {"source": SOURCE}}, {"a": [{"from": "subject"}, value]})
    assert found == [f"params.a[1].{mistake}" for mistake in expected]


def test_a_mistake_elsewhere_leaves_a_branch_its_mistakes() -> None:
    other: JsonObject = {"properties": {"from": {"type": "string"}, "source": SOURCE}}
    value: JsonObject = {"from": 1, "source": {"from": "subject", "name": "x"}}
    assert mistakes({"properties": {"list": {"items": other}}}, {"list": [value]}) == [
        "params.list[0].from: expected a string, got 1",
        "params.list[0].source.name: expected nothing, got 'x'",
    ]


def test_a_branch_that_refuses_its_own_condition_says_so() -> None:
    schema: JsonObject = {
        "properties": {"a": {"type": "string"}, "b": {}},
        "if": {"properties": {"a": {"minLength": 2}}},
        "then": {"properties": {"a": {"maxLength": 3}}, "required": ["b"]},
    }
    assert mistakes(schema, {"a": "long"}) == [
        "params.b: expected a value, got nothing",
        "params.a: expected at most 3 characters, got 'long'",
    ]


def test_a_schema_that_refers_to_itself_is_finite() -> None:
    schema: JsonObject = {"properties": {"child": {"$ref": "#"}, "n": {"default": 1}}}
    assert Schema(schema).with_defaults({"child": {"child": {}}}) == {"child": {"child": {"n": 1}, "n": 1}, "n": 1}
    assert mistakes(schema, {"child": {"x": 1}}) == [
        "params.child.x: expected one of child, n, got 'x'; remove it or correct its name"
    ]


@pytest.mark.parametrize("schema", [{"type": "strin"}, {"$ref": "https://example.com/schema"}, {"properties": 3}])
def test_what_is_no_schema_is_refused(schema: JsonObject) -> None:
    with pytest.raises(ValueError, match=r"."):
        Schema(schema)


def test_texts_of_a_format_are_found_wherever_their_schema_may_apply() -> None:
    schema = Schema(
        {
            "type": "object",
            "properties": {
                "plain": {"type": "string"},
                "one": {"$ref": "#/$defs/cel"},
                "all": {"type": "array", "items": {"properties": {"when": {"$ref": "#/$defs/cel"}}}},
                "named": {"type": "object", "additionalProperties": {"type": "string", "format": "cel"}},
                "either": {"anyOf": [{"type": "integer"}, {"type": "string", "format": "cel"}]},
            },
            "$defs": {"cel": {"type": "string", "format": "cel"}},
        }
    )
    value: JsonObject = {
        "plain": "a", "one": "b", "all": [{"when": "c"}, {"x": "d"}, {"when": 5}], "named": {"k": "e"}, "either": "f",
    }  # fmt: skip
    found = [(("one",), "b"), (("all", 0, "when"), "c"), (("named", "k"), "e"), (("either",), "f")]
    assert list(schema.texts(value, "cel")) == found
    assert list(schema.texts(value, "date")) == []


def test_of_two_branches_the_texts_of_the_one_that_holds_count() -> None:
    text = {"type": "string", "format": "upstream"}
    schema = Schema(
        {
            "properties": {"name": {"type": "string"}, "upstream": text},
            "if": {"required": ["upstream"]},
            "else": {"properties": {"name": text}},
        }
    )
    assert list(schema.texts({"name": "a", "upstream": "b"}, "upstream")) == [(("upstream",), "b")]
    assert list(schema.texts({"name": "a"}, "upstream")) == [(("name",), "a")]


def test_a_condition_that_refers_elsewhere_lets_both_branches_count() -> None:
    cel, date = {"properties": {"a": {"format": "cel"}}}, {"properties": {"a": {"format": "date"}}}
    schema = Schema({"if": {"$ref": "#/properties/b"}, "then": cel, "else": date, "properties": {"b": {}}})
    assert list(schema.texts({"a": "x"}, "cel")) == list(schema.texts({"a": "x"}, "date")) == [(("a",), "x")]
