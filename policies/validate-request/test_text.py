"""Invalid text (half surrogates, bytes that are not UTF-8, charsets), and the time that large texts take."""

import json
import time
from typing import Any

import pytest
from sdk import testing
from sdk.policy import PolicyMetadata

policy = testing.load_policy(__file__)
FORM = "application/x-www-form-urlencoded"
DEFAULTS: dict[str, Any] = {
    "contentTypes": ["application/json"],
    "bodyRequired": True,
    "undescribed": "refuse",
    "onInvalid": "refuse",
    "statusCode": 400,
    "maxErrors": 10,
    "showValues": False,
    "formats": True,
    "maxDepth": 64,
    "duplicateNames": "refuse",
}


def execute(body: bytes | None = None, *, headers: Any = None, operation: str = "", **more: Any) -> Any:
    """Returns the policy's action: None if the request passes."""
    request = {name: more.pop(name) for name in ("path", "query") if name in more}
    params = testing.params({**DEFAULTS, **more})
    about = PolicyMetadata("validate-request", "v1.0.0", operation=operation)
    sent = {"content-type": "application/json"} if headers is None else headers
    with testing.prepared(policy, params, about) as prepared:
        ctx = testing.request(
            operation.partition(" ")[0] or "POST",
            request.get("path", "/"),
            query=request.get("query", ""),
            headers=sent,
            body=body,
            operation=operation,
            prepared=prepared,
            policy=about,
        )
        return policy.on_request(ctx, params)


def errors(answer: Any) -> Any:
    assert answer.status_code == 400
    return json.loads(answer.body)["errors"]


def document(paths: Any) -> Any:
    return {"openapi": "3.1.0", "info": {"title": "Names", "version": "1"}, "paths": paths}


NAMED = {"properties": {"name": {"maxLength": 5}}, "additionalProperties": False}


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (rb'{"name": "\ud83d, cut"}', "/name"),
        (rb'{"name": "\ud83d"}', "/name"),
        (rb'{"name": ["a", {"b": "\uDE00\ud83d"}]}', "/name/1/b"),
        (rb'{"\ud800": 1}', ""),
        (rb'{"name": {"\udfff": 1}}', "/name"),
        (rb'"\uDBFF"', ""),
        (b'{"name": "\xed\xa0\xbd"}', ""),
        (b'{"name": "\xff"}', ""),
    ],
)
@pytest.mark.parametrize("schema", [NAMED, True, {"properties": {"name": {"pattern": "^a"}}}])
def test_half_of_a_surrogate_pair_is_the_clients_mistake(body: bytes, pointer: str, schema: Any) -> None:
    (error,) = errors(execute(body, schema=schema))
    assert (error["in"], error["pointer"]) == ("body", pointer)
    assert error["message"].startswith("expected U")
    assert execute(body, schema=schema, onInvalid="report") is None


def test_a_whole_surrogate_pair_passes() -> None:
    assert execute(rb'{"name": "\ud83d\ude00"}', schema=NAMED) is None
    assert execute(rb'{"name": "\\ud83d"}', schema={"properties": {"name": {"const": r"\ud83d"}}}) is None


@pytest.mark.parametrize("charset", ["idna", "utf-7", "undefined", "\udcff", "x" * 50_000, "utf-8; charset=latin1"])
def test_an_unknown_charset_is_the_clients_mistake(charset: str) -> None:
    sent = {"content-type": f"application/json; charset={charset}"}
    (error,) = errors(execute(b"{}", schema=True, headers=sent))
    assert "expected" in error["message"]
    assert len(error["message"]) < 300


def test_json_is_in_utf_8_whatever_its_charset() -> None:
    for charset, passes in (("utf-8", True), ("us-ascii", True), ("iso-8859-1", True), ("utf-16", False)):
        sent = {"content-type": f"application/json; charset={charset}"}
        answer = execute('{"name": "é"}'.encode(), schema={"properties": {"name": {"const": "é"}}}, headers=sent)
        assert (answer is None) == passes


STRINGS = document(
    {
        "/names/{id}": {
            "get": {
                "parameters": [
                    {"name": "id", "in": "path", "required": True, "schema": {"pattern": "^.*$"}},
                    {"name": "x-name", "in": "header", "schema": {"pattern": "^.*$"}},
                    {"name": "theme", "in": "cookie", "schema": {"enum": ["dark"]}},
                    {"name": "q", "in": "query", "schema": {"type": "string", "maxLength": 20}},
                    {"name": "tags", "in": "query", "schema": {"type": "array", "items": {"pattern": "^.*$"}}},
                    {"name": "by", "in": "query", "style": "deepObject", "schema": {"type": "object"}},
                    {"name": "where", "in": "query", "content": {"application/json": {"schema": True}}},
                ]
            },
            "post": {
                "requestBody": {
                    "content": {FORM: {"schema": {"type": "object", "properties": {"a": {"maxLength": 5}}}}}
                }
            },
        }
    }
)
READ = {"operation": "GET /names/{id}", "openapi": STRINGS}


@pytest.mark.parametrize(
    ("name", "request_"),
    [
        ("x-name", {"headers": {"x-name": "Andr\udce9"}}),
        ("theme", {"headers": {"cookie": "theme=dark\udcff"}}),
        ("id", {"path": "/names/%ff"}),
        ("id", {"path": "/names/\udcff"}),
        ("q", {"query": "q=\udcff"}),
        ("q", {"query": "q=%FF"}),
        ("q", {"query": "q=%ED%A0%BD"}),
        ("tags", {"query": "tags=a&tags=%ff"}),
        ("by", {"query": "by[a]=\udcff"}),
        ("by", {"query": "by[%ff]=a"}),
        ("where", {"query": "where=%22%ff%22"}),
        ("where", {"query": r"where=%22\ud83d%22"}),
    ],
)
def test_bytes_that_are_not_utf_8_are_the_clients_mistake(name: str, request_: Any) -> None:
    sent = {"path": "/names/a", "headers": {}, **READ, **request_}
    (error,) = errors(execute(**sent))
    assert error["name"] == name
    assert error["message"].startswith("expected Unicode")
    assert execute(**sent, onInvalid="report") is None


def test_invalid_text_in_a_form() -> None:
    sent: dict[str, Any] = {"operation": "POST /names/{id}", "path": "/names/a", "openapi": STRINGS}
    sent["headers"] = {"content-type": FORM}
    assert execute(b"a=%C3%A9", **sent) is None
    for form, pointer in ((b"a=%ff", "/a"), (b"%ff=a", ""), (b"b=1&b=%ff", "/b/1")):
        (error,) = errors(execute(form, **sent))
        assert (error["in"], error["pointer"]) == ("body", pointer)


def test_a_long_query_is_decoded_once() -> None:
    many: list[Any] = [{"name": f"q{at}", "in": "query", "schema": {"maxLength": 9}} for at in range(300)]
    many += [{"name": f"c{at}", "in": "cookie", "schema": {"maxLength": 9}} for at in range(30)]
    deep = {"in": "query", "style": "deepObject", "schema": {"type": "object"}}
    many += [{"name": f"o{at}", **deep} for at in range(300)]
    many += [{"name": "f", "in": "query", "schema": {"type": "object", "properties": {"f1": {"type": "string"}}}}]
    params = testing.params({**DEFAULTS, "openapi": document({"/a": {"get": {"parameters": many}}})})
    about = PolicyMetadata("validate-request", "v1.0.0", operation="GET /a")
    query, cookie = "&".join(["%61%61"] * 8_000), ";".join(["a=a"] * 8_000)
    with testing.prepared(policy, params, about) as prepared:
        ctx = testing.request(
            "GET", "/a", query=query, headers={"cookie": cookie}, operation="GET /a", prepared=prepared
        )
        began = time.process_time()
        assert policy.on_request(ctx, params) is None
        took = time.process_time() - began
    assert took < 1, "decoded for each parameter it takes seconds"
