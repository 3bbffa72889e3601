import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sdk import testing
from sdk.policy import Identity, ImmediateResponse, RequestContext

policy = testing.load_policy(__file__)
READER = Identity(subject="ann", claims={"roles": ["reader", "unknown"]})
ADMIN = Identity(subject="bob", claims={"roles": "admin"})
ROLES = {
    "reader": {"tools": ["search", "read_*"], "prompts": ["greet"], "resources": ["notes://public/*"]},
    "admin": {"tools": ["*"], "prompts": ["*"], "resources": ["*"]},
}
PARAMS: dict[str, Any] = {"role": {"from": "claim", "name": "roles"}, "roles": ROLES}
JSON, EVENTS = "application/json", "text/event-stream"


def message(method: str, number: Any = 1, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params}


def call(name: str, number: Any = 1) -> dict[str, Any]:
    return message("tools/call", number, name=name, arguments={})


def context(
    document: Any, identity: Identity | None, method: str = "POST", made: Any = None, **headers: str
) -> RequestContext:
    body = document if isinstance(document, bytes | None) else json.dumps(document).encode()
    lines = {"content-type": JSON} | {name.replace("_", "-"): value for name, value in headers.items()}
    ctx = testing.request(method, "/mcp", headers=lines if method == "POST" else {}, body=body, prepared=made)
    ctx.identity = identity
    return ctx


def ask(document: Any, identity: Identity | None = READER, method: str = "POST", **more: Any) -> Any:
    """The answer of the policy; None: the request goes upstream."""
    headers = {name: more.pop(name) for name in ("mcp_method", "mcp_name", "content_type") if name in more}
    values = testing.params(policy, **PARAMS | more)
    with testing.prepared(policy, values) as made:
        action = policy.on_request(context(document, identity, method, made, **headers), values)
    assert action is None or isinstance(action, ImmediateResponse)
    return action


def answered(
    document: Any, answer: Any, kind: str = JSON, identity: Identity | None = READER, status: int = 200, **more: Any
) -> Any:
    """What the client gets of a server's answer to this request."""
    method = more.pop("method", "POST")
    body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    sizes = more.pop("sizes", ())
    values = testing.params(policy, **PARAMS | more)
    with testing.prepared(policy, values) as made:
        ctx = context(document, identity, method, made)
        assert policy.on_request(ctx, values) is None
        response = testing.response(status, headers={"content-type": kind}, request=ctx)
        return testing.run_stream(
            policy.on_response_stream, testing.stream(body, sizes=sizes), ctx=response, params=values
        )


def error_of(action: Any) -> Any:
    assert isinstance(action, ImmediateResponse)
    assert action.headers["content-type"] == JSON
    return json.loads(action.body)


# ------------------------------------------------------------------ calls


@pytest.mark.parametrize(
    ("document", "allowed"),
    [
        (call("search"), True),
        (call("read_file"), True),
        (call("read_"), True),
        (call("Search"), False),
        (call("search "), False),
        (call("delete"), False),
        (call("xread_file"), False),
        (call("sear\u0441h"), False),
        (message("prompts/get", name="greet"), True),
        (message("prompts/get", name="search"), False),
        (message("resources/read", uri="notes://public/a"), True),
        (message("resources/read", uri="notes://private/a"), False),
        (message("resources/read", uri="notes://public/../private/a"), False),
        (message("resources/read", uri="notes://public/%2e%2E/private/a"), False),
        (message("resources/read", uri="notes://public/%252e%252e%2Fprivate"), False),
        (message("resources/read", uri="notes://public/x\\..\\private"), False),
        (message("resources/read", uri="notes://public/a..b"), True),
        (message("resources/subscribe", uri="notes://private/a"), False),
        (message("resources/unsubscribe", uri="notes://private/a"), False),
        (message("completion/complete", ref={"type": "ref/prompt", "name": "greet"}), True),
        (message("completion/complete", ref={"type": "ref/resource", "uri": "notes://private/{a}"}), False),
        (message("subscriptions/listen", notifications={"toolsListChanged": True}), True),
        (message("subscriptions/listen", notifications={"resourceSubscriptions": ["notes://private/a"]}), False),
        (message("tools/list"), True),
        (message("initialize"), True),
        (message("ping", "a"), True),
        (message("tools/install"), False),
        ({"jsonrpc": "2.0", "method": "notifications/initialized"}, True),
        ({"jsonrpc": "2.0", "id": 5, "result": {"roots": []}}, True),
    ],
)
def test_a_role_may_call_what_it_names(document: Any, allowed: bool) -> None:
    action = ask(document)
    assert (action is None) == allowed
    if document.get("method") != "tools/install":
        assert ask(document, ADMIN) is None
    if not allowed:
        assert (action.status_code, error_of(action)["id"]) == (200, document["id"])


@pytest.mark.parametrize(
    ("document", "code", "text"),
    [
        (call("delete", "x"), -32602, "Unknown tool: delete"),
        (message("prompts/get", 7, name="bye"), -32602, "Unknown prompt: bye"),
        (message("resources/read", uri="a:b"), -32002, "Resource not found: a:b"),
        (message("of/others"), -32601, "Method not found: of/others"),
    ],
)
def test_a_refusal_is_that_of_a_server_without_it(document: Any, code: int, text: str) -> None:
    action = ask(document)
    assert error_of(action) == {"jsonrpc": "2.0", "id": document["id"], "error": {"code": code, "message": text}}
    assert "refused" in action.analytics_metadata["mcp"]


@pytest.mark.parametrize("identity", [None, Identity(subject="ann"), Identity(subject="ann", claims={"roles": 5})])
def test_without_a_role_only_what_everyone_may(identity: Identity | None) -> None:
    assert ask(call("search"), identity) is not None
    assert ask(call("search"), identity, everyone={"tools": ["search"]}) is None
    assert ask(call("delete"), identity, everyone={"tools": ["search"]}) is not None
    assert ask(message("tools/list"), identity) is None


@pytest.mark.parametrize(
    ("source", "identity"),
    [
        ({"from": "claim", "name": "realm.roles"}, Identity(subject="a", claims={"realm": {"roles": ["reader"]}})),
        ({"from": "claim", "name": "a.b"}, Identity(subject="a", claims={"a.b": "reader", "a": {"b": "other"}})),
        ({"from": "scopes"}, Identity(subject="a", scopes=("other", "reader"))),
        ({"from": "consumer"}, Identity(subject="a", consumer="reader")),
        ({"from": "subject"}, Identity(subject="reader")),
        ({"from": "label", "name": "team"}, Identity(subject="a", labels={"team": "reader"})),
    ],
)
def test_roles_come_from_the_identity(source: dict[str, str], identity: Identity) -> None:
    assert ask(call("search"), identity, role=source) is None
    assert ask(call("delete"), identity, role=source) is not None
    assert ask(call("search"), Identity(subject="x"), role=source) is not None


def test_a_call_that_wants_no_answer_is_refused_with_a_status() -> None:
    document = call("delete")
    del document["id"]
    action = ask(document)
    assert (action.status_code, error_of(action)["id"]) == (403, None)


def test_a_batch_is_refused_whole() -> None:
    assert ask([call("search", 1), call("read_a", 2)]) is None
    action = ask([call("search", 1), call("delete", 2), {"jsonrpc": "2.0", "method": "notifications/initialized"}])
    assert [(error["id"], error["error"]["code"]) for error in error_of(action)] == [(1, -32600), (2, -32602)]


def test_methods_of_others_pass_by_choice() -> None:
    assert ask(message("of/others"), unknownMethods="pass") is None
    assert ask(message("Tools/call", name="delete"), unknownMethods="deny") is not None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"tools",
        b"\xff",
        b'{"jsonrpc":"2.0","id":1,"method":"tools/list","method":"tools/call","params":{"name":"delete"}}',
        b'{"jsonrpc":"2.0","id":1,"method":"tools/list","Method":"tools/call","params":{"name":"delete"}}',
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search","name":"delete"}}',
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search","n\\u0061me":"delete"}}',
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search","NAME":"delete"}}',
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search\\u0000delete"}}',
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read_\\udc00"}}',
        b'{"jsonrpc":"2.0","id":1e400,"method":"tools/call","params":{"name":"search"}}',
        b'{"jsonrpc":"2.0","id":123456789012345678901234567890,"method":"tools/list"}',
        b"[" * 5000,
    ],
)
def test_what_parsers_read_differently_is_refused_for_anyone(body: bytes) -> None:
    for identity in (None, READER, ADMIN):
        action = ask(body, identity, unknownMethods="pass")
        assert (action.status_code, error_of(action)["id"]) == (400, None)


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/json; charset=utf-7"])
def test_other_content_types_are_refused(content_type: str) -> None:
    assert ask(call("search"), content_type=content_type).status_code == 415


def test_headers_that_say_something_else_are_refused() -> None:
    assert ask(call("search"), mcp_method="tools/call", mcp_name="search") is None
    assert error_of(ask(call("search"), mcp_name="delete"))["error"]["code"] == -32020
    assert error_of(ask(call("search"), mcp_method="tools/list"))["error"]["code"] == -32020


def test_requests_without_a_message_pass_and_other_methods_do_not() -> None:
    for method in ("GET", "DELETE", "HEAD", "OPTIONS"):
        assert ask(None, None, method) is None
    assert ask(call("search"), ADMIN, "GET").status_code == 400
    assert ask(call("search"), ADMIN, "PUT").status_code == 405


@given(st.text(max_size=8), st.lists(st.text("ab*", min_size=1, max_size=5), max_size=4))
def test_names_fit_as_with_a_regular_expression(name: str, patterns: list[str]) -> None:
    for text in (name, name.replace("0", "a"), "ab" * len(name)):
        expected = any(re.fullmatch(".*".join(map(re.escape, p.split("*"))), text, re.DOTALL) for p in patterns)
        names = policy.permit_of({"tools": patterns}).tools
        assert names.fit(text) == expected


# ------------------------------------------------------------------ lists

TOOLS = [{"name": "search"}, {"name": "delete"}, {"name": "read_a", "title": "é"}, {"name": 5}, "x", {}]
LISTED: dict[str, Any] = {"jsonrpc": "2.0", "id": 1, "result": {"tools": TOOLS, "nextCursor": "2"}}
KEPT = {"jsonrpc": "2.0", "id": 1, "result": {"tools": [TOOLS[0], TOOLS[2]], "nextCursor": "2"}}


def as_events(*documents: Any) -> bytes:
    return b"".join(b"event: message\nid: 3\ndata: %s\n\n" % json.dumps(document).encode() for document in documents)


def messages_in(body: bytes) -> list[Any]:
    return [json.loads(line.removeprefix("data:")) for line in body.decode().splitlines() if line.startswith("data:")]


def test_a_list_has_what_may_be_called() -> None:
    assert json.loads(answered(message("tools/list"), LISTED).body) == KEPT
    assert json.loads(answered([message("tools/list")], [LISTED]).body) == [KEPT]
    assert json.loads(answered(message("tools/list"), LISTED, identity=None).body)["result"]["tools"] == []
    assert len(json.loads(answered(message("tools/list"), LISTED, identity=ADMIN).body)["result"]["tools"]) == 3


@pytest.mark.parametrize(
    ("method", "member", "items", "kept"),
    [
        ("prompts/list", "prompts", [{"name": "greet"}, {"name": "bye"}], [{"name": "greet"}]),
        ("resources/list", "resources", [{"uri": "notes://public/a"}, {"uri": "x:y"}], [{"uri": "notes://public/a"}]),
        ("resources/templates/list", "resourceTemplates", [{"uriTemplate": "notes://{a}"}], []),
        ("resources/templates/list", "resourceTemplates", *[[{"uriTemplate": "notes://public/{a}"}]] * 2),
    ],
)
def test_other_lists_too(method: str, member: str, items: Any, kept: Any) -> None:
    answer = {"jsonrpc": "2.0", "id": 1, "result": {member: items}}
    assert json.loads(answered(message(method), answer).body)["result"] == {member: kept}


@given(st.lists(st.integers(1, 40), max_size=8))
def test_a_list_in_a_stream_wherever_it_is_cut(sizes: list[int]) -> None:
    progress = {"jsonrpc": "2.0", "method": "notifications/message", "params": {"tools": TOOLS}}
    body = b": ping\n\n" + as_events(progress, LISTED)
    result = answered(message("tools/list"), body, EVENTS, sizes=sizes)
    assert messages_in(result.body) == [progress, KEPT]
    assert result.body.startswith(b": ping\n\n")
    assert b"id: 3" in result.body


def test_a_list_that_comes_on_the_stream_of_get_is_no_way_around() -> None:
    """By Last-Event-ID a client gets there what it has missed of an answer."""
    asked = message("sampling/createMessage", 9, tools=TOOLS)
    changed = {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}
    result = answered(None, as_events(changed, LISTED, asked), EVENTS, method="GET")
    assert messages_in(result.body) == [changed, KEPT, asked]


def test_results_of_calls_pass_as_they_are() -> None:
    answer = b'{ "jsonrpc": "2.0", "id": 1, "result": {"content": [], "tools": [{"name": "delete"}]} }'
    assert answered(call("search"), answer).body == answer
    assert answered(call("search"), b"any bytes", "image/png").body == b"any bytes"


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"{", JSON),
        (b"<html>", "text/html"),
        (json.dumps(LISTED).encode(), "text/plain"),
        (json.dumps(LISTED).encode(), ""),
        (b"[" * 5000, JSON),
        (b"data: {\n\n", EVENTS),
        (b'"' + b"a" * 5000, JSON),
    ],
)
def test_a_list_that_cannot_be_read_is_refused(body: bytes, kind: str) -> None:
    result = answered(message("tools/list"), body, kind, maxAnswerBytes=1024)
    assert result.body == b""
    assert result.rejected is not None
    assert result.rejected.status_code == 502


def test_refusals_of_the_server_pass() -> None:
    assert answered(message("tools/list"), b"no session", "text/plain", status=404).body == b"no session"
    assert answered(None, b"", "text/plain", method="GET", status=405).body == b""


def test_lists_and_calls_agree() -> None:
    """What is listed may be called, and what may be called is listed."""
    names = ["search", "read_a", "read_", "delete", "", "a\0b", "Search", "read_é"]
    tools = [{"name": name} for name in names]
    answer = {"jsonrpc": "2.0", "id": 1, "result": {"tools": tools}}
    for identity in (None, READER, ADMIN):
        body = json.loads(answered(message("tools/list"), answer, identity=identity).body)
        listed = {tool["name"] for tool in body["result"]["tools"]}
        callable_ = {name for name in names if ask(call(name), identity) is None}
        assert callable_ <= listed
        assert listed - callable_ <= {"", "a\0b"}  # which is no name of a tool for any client
