"""Messages of clients: what they are about, and what is refused since two parsers could read it differently."""

from __future__ import annotations

import json
from typing import Any

import pytest
from gatewright.headers import Headers
from sdk import mcp

JSON = "application/json"


def call(name: str = "add", **more: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": name}, **more}


def read(document: Any, content_type: str = JSON) -> mcp.Messages:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    found = mcp.read_messages(body, content_type)
    assert isinstance(found, mcp.Messages), found
    return found


@pytest.mark.parametrize(
    ("method", "params", "targets"),
    [
        ("tools/call", {"name": "add", "arguments": {"Name": 1}}, [("tool", "add")]),
        ("prompts/get", {"name": "greet"}, [("prompt", "greet")]),
        ("resources/read", {"uri": "notes://a"}, [("resource", "notes://a")]),
        ("resources/subscribe", {"uri": "notes://a"}, [("resource", "notes://a")]),
        ("completion/complete", {"ref": {"type": "ref/prompt", "name": "greet"}}, [("prompt", "greet")]),
        ("completion/complete", {"ref": {"type": "ref/resource", "uri": "a://{b}"}}, [("resource", "a://{b}")]),
        ("subscriptions/listen", {"notifications": {"resourceSubscriptions": ["a:b"]}}, [("resource", "a:b")]),
        ("subscriptions/listen", {"notifications": {"toolsListChanged": True}}, []),
        ("tools/list", {"cursor": "2"}, []),
        ("of/others", {}, []),
    ],
)
def test_a_request_has_targets(method: str, params: dict[str, Any], targets: list[tuple[str, str]]) -> None:
    (message,) = read({"jsonrpc": "2.0", "id": "a", "method": method, "params": params}).messages
    assert (message.kind, message.method, message.id) == ("request", method, "a")
    assert [(target.kind, target.name) for target in message.targets] == targets


def test_escapes_are_read() -> None:
    body = rb'{"jsonrpc":"2.0","id":1,"m\u0065thod":"tools\/call","params":{"n\u0061me":"\u0061dd \ud83d\ude00"}}'
    assert read(body).messages[0].targets == (mcp.Target("tool", "add 😀"),)


def test_notifications_and_answers_are_no_requests() -> None:
    notification = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    answers = [{"jsonrpc": "2.0", "id": 1, "result": {}}, {"jsonrpc": "2.0", "id": 2, "error": {"code": 1}}]
    found = read([notification, *answers, call()])
    assert [message.kind for message in found.messages] == ["notification", "response", "response", "request"]
    assert found.is_batch
    assert [message.id for message in found.requests] == [1]


def test_a_call_without_an_id_has_its_target() -> None:
    document = call()
    del document["id"]
    (message,) = read(document).messages
    assert (message.kind, message.targets) == ("notification", (mcp.Target("tool", "add"),))


MALFORMED: list[tuple[bytes | Any, int]] = [
    (b"", mcp.PARSE_ERROR),
    (b"{", mcp.PARSE_ERROR),
    (b"\xef\xbb\xbf{}", mcp.PARSE_ERROR),
    (json.dumps(call()).encode("utf-16"), mcp.PARSE_ERROR),
    (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":"\xff"}}', mcp.PARSE_ERROR),
    (b'{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call"}', mcp.PARSE_ERROR),
    (b'{"jsonrpc":"2.0","id":1,"method":"ping","m\\u0065thod":"tools/call"}', mcp.PARSE_ERROR),
    (b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"add","name":"drop"}}', mcp.PARSE_ERROR),
    (b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"add\\ud800"}}', mcp.PARSE_ERROR),
    (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":NaN}}', mcp.PARSE_ERROR),
    (b'{"jsonrpc":"2.0","id":%s,"method":"ping"}' % (b"9" * 5000), mcp.PARSE_ERROR),
    (b"[" * 100_000, mcp.PARSE_ERROR),
    ([], mcp.INVALID_REQUEST),
    ([call()] * 101, mcp.INVALID_REQUEST),
    ([call(), call("drop")], mcp.INVALID_REQUEST),
    ([call(), 1], mcp.INVALID_REQUEST),
    ([[call()]], mcp.INVALID_REQUEST),
    ("text", mcp.INVALID_REQUEST),
    (None, mcp.INVALID_REQUEST),
    ({}, mcp.INVALID_REQUEST),
    (call(jsonrpc="1.0"), mcp.INVALID_REQUEST),
    (call(jsonrpc=2), mcp.INVALID_REQUEST),
    (call(Method="ping"), mcp.INVALID_REQUEST),
    (call(METHOD="ping"), mcp.INVALID_REQUEST),
    ({**call(), "param\u017f": {"name": "drop"}}, mcp.INVALID_REQUEST),
    (call(params={"name": "add", "Name": "drop"}), mcp.INVALID_REQUEST),
    (call(result={}), mcp.INVALID_REQUEST),
    (call(id=None), mcp.INVALID_REQUEST),
    (call(id=True), mcp.INVALID_REQUEST),
    (call(id=1.5), mcp.INVALID_REQUEST),
    (call(id=2**53 + 1), mcp.INVALID_REQUEST),
    (call(id="a" * 1025), mcp.INVALID_REQUEST),
    (call(id=[1]), mcp.INVALID_REQUEST),
    (call(method=1), mcp.INVALID_PARAMS),
    (call(method=""), mcp.INVALID_PARAMS),
    (call(params=["add"]), mcp.INVALID_PARAMS),
    (call(params=None), mcp.INVALID_PARAMS),
    (call(params={}), mcp.INVALID_PARAMS),
    (call(params={"name": ["add"]}), mcp.INVALID_PARAMS),
    (call("a" * 1025), mcp.INVALID_PARAMS),
    (call("add\0drop"), mcp.INVALID_PARAMS),
    (call(method="resources/read"), mcp.INVALID_PARAMS),
    (call(method="completion/complete", params={"ref": {"type": "ref/tool", "name": "x"}}), mcp.INVALID_PARAMS),
    (call(method="completion/complete", params={"ref": {"type": ["a"], "name": "x"}}), mcp.INVALID_PARAMS),
    (call(method="subscriptions/listen", params={"notifications": {"resourceSubscriptions": "a"}}), mcp.INVALID_PARAMS),
    ({"jsonrpc": "2.0", "id": 1, "result": {}, "error": {}}, mcp.INVALID_REQUEST),
    ({"jsonrpc": "2.0", "result": {}}, mcp.INVALID_REQUEST),
]


@pytest.mark.parametrize(("document", "code"), MALFORMED)
def test_what_two_parsers_could_read_differently_is_malformed(document: Any, code: int) -> None:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    found = mcp.read_messages(body, JSON)
    assert isinstance(found, mcp.Malformed)
    assert (found.code, found.status) == (code, 400), found
    assert 0 < len(found.detail) < 300


@pytest.mark.parametrize("content_type", [JSON, "Application/JSON; charset=UTF-8", 'application/json;charset="utf-8"'])
def test_content_types_of_json_are_read(content_type: str) -> None:
    assert read(call(), content_type)


@pytest.mark.parametrize(
    "content_type",
    ["", "text/plain", "application/json; charset=utf-16", "application/jsonp", "text/event-stream", [], [JSON, JSON]],
)
def test_other_content_types_are_malformed(content_type: str | list[str]) -> None:
    found = mcp.read_messages(json.dumps(call()).encode(), content_type)
    assert isinstance(found, mcp.Malformed)
    assert found.status == 415


@pytest.mark.parametrize(
    ("headers", "fits"),
    [
        ([], True),
        ([("Mcp-Method", "tools/call"), ("Mcp-Name", "add")], True),
        ([("mcp-name", "=?base64?YWRk?=")], True),
        ([("mcp-method", "tools/list")], False),
        ([("mcp-method", "tools/call"), ("mcp-method", "tools/list")], False),
        ([("mcp-name", "drop")], False),
        ([("mcp-name", "=?base64?ZHJvcA==?=")], False),
        ([("mcp-name", "=?base64?YW=k?=")], False),
        ([("mcp-name", "add"), ("mcp-name", "add")], False),
    ],
)
def test_headers_say_what_the_body_says(headers: list[tuple[str, str]], fits: bool) -> None:
    raw = b"".join(f"{name.lower()}\0{value}\0".encode() for name, value in headers)
    found = mcp.check_headers(Headers(raw), read(call()))
    assert (found is None) == fits
    assert (mcp.check_headers(Headers(raw), read([call()])) is None) == (not headers)
