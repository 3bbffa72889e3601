"""The parameters of a definition in words: each keyword, lists and maps, schemas that refer to themselves."""

from __future__ import annotations

from typing import Any

import pytest
from gatewright.definition import PolicyDefinition
from gatewright_documents.definition_words import Parameter, files, network, parameters, phases, together


def schema(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


def definition(runtime: str = "python", modes: dict[str, str] | None = None, **more: Any) -> PolicyDefinition:
    modes = modes or {"requestHeaderMode": "PROCESS"}
    document = {"name": "one", "version": "v1.0.0", "runtime": runtime, "processingMode": modes, **more}
    return PolicyDefinition.from_document(document)


@pytest.mark.parametrize(
    ("field", "kind"),
    [
        ({"type": "string", "pattern": "^a|b$", "maxLength": 9}, "string, matches <^a|b$>, at most 9 characters"),
        ({"type": "string", "pattern": "x" * 40}, "string"),
        ({"type": "string", "pattern": "x" * 40, "x-expected": "many x"}, "string, many x"),
        ({"type": ["integer", "string"], "minimum": 0}, "integer or string, at least 0"),
        ({"type": "number", "exclusiveMinimum": 0, "multipleOf": 0.5}, "number, more than 0, a multiple of 0.5"),
        ({"type": "string", "format": "secret"}, "string, a secret"),
        ({"type": "string", "format": "uri"}, "string, format uri"),
        ({"enum": ["all", 503, None]}, "one of <all>, <503>, <null>"),
        ({"const": True}, "<true>"),
        ({}, "value"),
        (True, "value"),
        ({"type": "array"}, "array"),
        ({"type": "array", "minItems": 1, "items": {"enum": ["a", "b"]}, "uniqueItems": True},
         "list of <a>, <b>, 1 or more entries, no entry twice"),
        ({"items": {"type": "array", "items": {"type": "string", "minLength": 1}}, "maxItems": 2},
         "list of lists of strings, at most 2 entries; each 1 or more characters"),
        ({"type": "object", "additionalProperties": {"type": "integer", "maximum": 9}, "maxProperties": 3},
         "map of integers, at most 3 keys; each at most 9"),
        ({"type": "object", "additionalProperties": False, "properties": {}}, "object"),
        ({"type": ["string", "array"], "items": {"type": "string"}}, "string or array"),
        ({"type": "array", "items": {"type": "object", "oneOf": [{"required": ["a"]}, {"required": ["b"]}]}},
         "list of objects; each exactly one of <a>, <b>"),
    ],
)  # fmt: skip
def test_a_kind(field: Any, kind: str) -> None:
    (found,) = parameters(schema(x=field), lambda value: f"<{value}>")
    assert found == Parameter("x", kind, required=False, default="", description="")


def test_parameters_in_lists_maps_and_references_are_listed_below_them() -> None:
    rule = {"type": "object", "required": ["to"], "properties": {"to": {"type": "string"}, "as": {"default": "ü"}}}
    whole = schema(
        rules={"description": "Of\n  each.", "type": "array", "items": {"$ref": "#/$defs/rule"}, "default": []},
        named={"type": "object", "additionalProperties": {"$ref": "#/$defs/rule"}},
        one={"$ref": "#/$defs/rule", "description": "This one.", "required": []},
        all={"allOf": [{"$ref": "#/$defs/rule"}, schema(more={"type": "boolean"})]},
    )
    found = list(parameters(whole | {"required": ["rules"], "$defs": {"rule": rule | {"description": "A rule."}}}))
    assert [parameter.path for parameter in found] == [
        *("rules", "rules[].to", "rules[].as", "named", "named.*.to", "named.*.as", "one", "one.to", "one.as"),
        *("all", "all.more", "all.to", "all.as"),
    ]
    assert found[0] == Parameter("rules", "list of objects", True, "", "Of each.")
    assert found[1].required
    assert found[2] == Parameter("rules[].as", "value", False, '"ü"', "")
    assert (found[6].description, found[7].required) == ("This one.", False)


def test_a_schema_that_refers_to_itself_is_listed_once() -> None:
    tree = schema(
        left={"$ref": "#/$defs/tree"}, several={"type": "array", "items": {"$ref": "#/$defs/tree"}}, root={"$ref": "#"}
    )
    lists = {"type": "array", "items": {"$ref": "#/$defs/lists"}}
    loop = {"$ref": "#/$defs/loop"}
    found = parameters(
        schema(
            tree={"$ref": "#/$defs/tree"},
            lists={"$ref": "#/$defs/lists"},
            loop={"$ref": "#/$defs/loop"},
            none={"$ref": "#/$defs/none"},
        )
        | {"$defs": {"tree": tree, "lists": lists, "loop": loop}}
    )
    assert [parameter.path for parameter in found] == [
        *("tree", "tree.left", "tree.several", "tree.root", "lists", "loop", "none")
    ]


def test_what_holds_for_all_together() -> None:
    either = {"anyOf": [{"required": ["allow"]}, {"required": ["deny"]}], "minProperties": 1}
    assert together({**schema(), **either}) == "at least one of allow, deny"
    assert together({**schema(), "minProperties": 1}) == "1 or more parameters"
    assert together({**schema(), "anyOf": [{"required": ["a", "b"]}, {"required": ["c"]}]}) == ""
    assert together({}) == ""


def test_phases() -> None:
    assert phases(definition()) == ["the request's headers"]
    modes = {"requestBodyMode": "BUFFER", "responseHeaderMode": "PROCESS", "responseBodyMode": "STREAM"}
    assert phases(definition(modes=modes)) == [
        "the request's body, whole", "the response's headers", "the response's body, chunk by chunk",
    ]  # fmt: skip


def test_what_it_may_reach() -> None:
    assert (network(definition()), files(definition())) == ("every address", "none of its own")
    assert network(definition(network="none")) == "none"
    assert network(definition(network=["id.internal:443", "unix"])) == "id.internal:443, Unix sockets"
    reads = {"read": ["/etc/a", "/etc/b"], "write": ["/var/c"]}
    assert files(definition(files=reads)) == "reads /etc/a, /etc/b; writes /var/c"
    assert network(definition("go")) == files(definition("go")) == "as the engine, which it runs in"
