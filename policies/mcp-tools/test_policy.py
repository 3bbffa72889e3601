import json
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sdk import testing
from sdk.policy import ImmediateResponse, UpstreamRequestModifications

policy = testing.load_policy(__file__)
JSON = "application/json"
ID = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
NEW_ORDER = {
    "type": "object",
    "required": ["item", "id"],
    "properties": {
        "id": {"type": "integer", "readOnly": True},
        "item": {"type": "string", "example": "tea"},
        "parent": {"$ref": "#/components/schemas/Order"},
    },
}
PATHS: dict[str, Any] = {
    "/orders": {
        "get": {
            "operationId": "listOrders",
            "tags": ["orders"],
            "summary": "List orders",
            "description": "Newest first.",
            "parameters": [
                {"name": "limit", "in": "query", "schema": {"type": "integer", "maximum": 100}, "description": "Most."},
                {"name": "state", "in": "query", "schema": {"type": "array", "items": {"type": "string"}}},
                {"name": "X-Tenant", "in": "header", "schema": {"type": "string"}},
                {"name": "Authorization", "in": "header", "required": True, "schema": {"type": "string"}},
                {"name": "session", "in": "cookie", "schema": {"type": "string"}},
            ],
        },
        "post": {
            "operationId": "createOrder",
            "tags": ["orders", "write"],
            "requestBody": {"required": True, "content": {JSON: {"schema": {"$ref": "#/components/schemas/Order"}}}},
        },
    },
    "/orders/{id}": {"parameters": [ID], "get": {"operationId": "getOrder"}, "delete": {}, "head": {}},
}


def document(paths: dict[str, Any] = PATHS, version: str = "3.1.0", **schemas: Any) -> dict[str, Any]:
    return {
        "openapi": version,
        "info": {"title": "Orders", "version": "1"},
        "paths": paths,
        "components": {"schemas": {"Order": NEW_ORDER} | schemas},
    }


def one(node: dict[str, Any], path: str = "/x", method: str = "get") -> dict[str, Any]:
    return document({path: {method: {"operationId": "x"} | node}})


def message(method: str, number: Any = 1, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params}


@cache
def of_the_document() -> tuple[Any, Any]:
    """Parameters with the document of the tests, and what is prepared for them, once for all messages."""
    values = testing.params(policy, openapi=document())
    return values, policy.prepare(values)


def send(sent: Any, api: Any = None, headers: dict[str, str] | None = None, **more: Any) -> Any:
    """What the policy does with a message."""
    if not (api or more):
        values, made = of_the_document()
        return ask(sent, values, made, headers)
    if "headers_of_api" in more:
        more["headers"] = more.pop("headers_of_api")
    values = testing.params(policy, openapi=api or document(), **more)
    with testing.prepared(policy, values) as made:
        return ask(sent, values, made, headers)


def ask(sent: Any, values: Any, made: Any, headers: dict[str, str] | None) -> Any:
    body = sent if isinstance(sent, bytes) else json.dumps(sent).encode()
    lines = {"content-type": JSON} | (headers or {})
    context = testing.request("POST", "/shop/mcp", headers=lines, body=body, prepared=made, api_context="/shop")
    return policy.on_request(context, values)


def call(name: str, arguments: Any = None, api: Any = None, **more: Any) -> Any:
    params = {"name": name} if arguments is None else {"name": name, "arguments": arguments}
    return send(message("tools/call", **params), api, **more)


def result_of(action: Any) -> Any:
    assert isinstance(action, ImmediateResponse), action
    assert (action.status_code, action.headers["content-type"]) == (200, JSON)
    return json.loads(action.body)["result"]


def error_of(action: Any) -> Any:
    assert isinstance(action, ImmediateResponse), action
    return json.loads(action.body)["error"]


def sent_of(action: Any) -> tuple[Any, ...]:
    assert isinstance(action, UpstreamRequestModifications), action
    return action.method, action.path, action.query, action.body


def refused(action: Any) -> str:
    """The text of a result that says what is wrong with the arguments."""
    result = result_of(action)
    assert result["isError"] is True
    text: str = result["content"][0]["text"]
    return text


def tools(api: Any = None, **more: Any) -> dict[str, Any]:
    return {tool["name"]: tool for tool in result_of(send(message("tools/list"), api, **more))["tools"]}


def schema(api: Any, name: str = "x") -> Any:
    return tools(api)[name]["inputSchema"]


# ------------------------------------------------------------------ the list


def test_each_operation_is_a_tool() -> None:
    listed = tools()
    assert list(listed) == ["listOrders", "createOrder", "getOrder", "DELETE_orders_id"]
    assert listed["listOrders"] == {
        "name": "listOrders",
        "title": "List orders",
        "description": "List orders\n\nNewest first.",
        "inputSchema": {
            "type": "object",
            "properties": {
                "limit": {"type": "integer", "maximum": 100, "description": "Most."},
                "state": {"type": "array", "items": {"type": "string"}},
                "X-Tenant": {"type": "string"},
            },
            "additionalProperties": False,
        },
        "annotations": {"readOnlyHint": True},
    }
    assert listed["DELETE_orders_id"]["annotations"]["destructiveHint"] is True


def test_a_schema_is_whole_and_may_refer_to_itself() -> None:
    assert tools()["createOrder"]["inputSchema"] == {
        "type": "object",
        "properties": {"body": {"$ref": "#/$defs/Order"}},
        "additionalProperties": False,
        "required": ["body"],
        "$defs": {
            "Order": {
                "type": "object",
                "required": ["item"],
                "properties": {"item": {"type": "string"}, "parent": {"$ref": "#/$defs/Order"}},
            }
        },
    }


def test_schemas_of_3_0_are_translated() -> None:
    age = {"type": "integer", "nullable": True, "minimum": 0, "exclusiveMinimum": True}
    parameters = [{"name": "age", "in": "query", "schema": age}]
    api = document({"/x": {"get": {"operationId": "x", "parameters": parameters}}}, "3.0.3")
    assert schema(api)["properties"]["age"] == {"type": ["integer", "null"], "exclusiveMinimum": 0}


def test_names_are_those_that_providers_of_models_accept() -> None:
    parameters = [
        {"name": "filter[a b]", "in": "query", "schema": {"type": "string"}},
        {"name": "id", "in": "query", "schema": {"type": "string"}},
        {"name": "id", "in": "header", "schema": {"type": "string"}},
        {"name": "body", "in": "query", "schema": {"type": "string"}},
    ]
    api = one({"operationId": "größe/all things!", "parameters": parameters})
    assert list(schema(api, "gr_e_all_things")["properties"]) == ["filter_a_b", "id", "header_id", "query_body"]
    arguments = {"filter_a_b": "1", "id": "2", "query_body": "3"}
    assert sent_of(call("gr_e_all_things", arguments, api))[2] == "filter%5Ba%20b%5D=1&id=2&body=3"
    assert len(next(iter(tools(one({"operationId": "a" * 300}))))) == 64


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"include": {"operations": ["getOrder"]}}, ["getOrder"]),
        ({"include": {"operations": ["*Order*"]}}, ["listOrders", "createOrder", "getOrder"]),
        ({"include": {"tags": ["write"]}}, ["createOrder"]),
        ({"include": {"methods": ["GET"]}}, ["listOrders", "getOrder"]),
        ({"include": {"operations": ["getOrder"], "tags": ["write"]}}, ["createOrder", "getOrder"]),
        ({"exclude": {"tags": ["orders"]}}, ["getOrder", "DELETE_orders_id"]),
        ({"include": {"tags": ["orders"]}, "exclude": {"methods": ["POST"]}}, ["listOrders"]),
        ({"exclude": {"operations": ["DELETE /orders/{id}", "createOrder"]}}, ["listOrders", "getOrder"]),
        ({"exclude": {"operations": ["*Order*"]}, "tools": {"DELETE /orders/{id}": {"name": "drop"}}}, ["drop"]),
    ],
)
def test_operations_are_chosen(choice: Any, expected: list[str]) -> None:
    assert list(tools(**choice)) == expected


def test_a_tool_may_have_another_name_and_description() -> None:
    named = tools(tools={"getOrder": {"name": "order", "description": "By number."}})["order"]
    assert (named["description"], named["inputSchema"]["required"]) == ("By number.", ["id"])
    assert "getOrder" not in tools(tools={"getOrder": {"name": "order"}})


@pytest.mark.parametrize(
    ("api", "more", "text"),
    [
        ({"openapi": "2.0"}, {}, "expected an OpenAPI document with openapi: 3.0.x or 3.1.x, got '2.0'"),
        ("{", {}, "invalid JSON"),
        (document({}), {}, "got none of none"),
        (document(), {"exclude": {"operations": ["*"]}}, "got none of listOrders, createOrder, getOrder, DELETE"),
        (
            document(),
            {"include": {"operations": ["getorder"]}},
            "(listOrders, createOrder, getOrder, DELETE /orders/{id})",
        ),
        (document(), {"tools": {"other": {"name": "a"}}}, "got other"),
        (document(), {"tools": {"getOrder": {"name": "listOrders"}}}, "its tool has the name listOrders of another"),
        (one({}, "/x/{id}"), {}, "x: expected a parameter for each variable of the path, got none for id"),
        (one({}, "/x/../y"), {}, "expected a path of encoded segments, got /x/../y"),
        (one({}, "/x y"), {}, "expected a path of encoded segments"),
        (one({}, "//x"), {}, "expected a path of encoded segments"),
        (one({"parameters": [{"name": "a", "in": "query", "style": "simple"}]}), {}, "got simple at #/paths/~1x/get"),
        (one({"parameters": [{"name": "Host", "in": "header"}]}), {}, "expected no parameter of the header Host"),
        (one({"parameters": [{"name": "s", "in": "cookie", "required": True}]}), {}, "a cookie, got s"),
        (one({"parameters": [{"name": "a", "in": "query", "schema": {"$ref": "b.json"}}]}), {}, "nothing is fetched"),
        (one({"parameters": [{"name": "a", "in": "query", "schema": {"$ref": "#/b"}}]}), {}, "a schema at #/b"),
        (one({"parameters": [{"name": "a", "in": "query", "schema": {"type": "text"}}]}), {}, "a valid JSON Schema"),
        (one({"parameters": [{"name": "a", "in": "query", "schema": {"pattern": "(?=a)"}}]}), {}, "Rust's regex"),
        (
            one({"requestBody": {"required": True, "content": {"multipart/form-data": {}}}}),
            {},
            "got multipart/form-data",
        ),
    ],
)
def test_mistakes_of_the_document_are_refused_before_a_request_comes(api: Any, more: Any, text: str) -> None:
    with (
        pytest.raises(ValueError, match=r".") as refusal,
        testing.prepared(policy, testing.params(policy, openapi=api, **more)),
    ):
        pass
    assert text in str(refusal.value)


def test_all_mistakes_are_there_at_once() -> None:
    bad = {"parameters": [{"name": "Host", "in": "header"}]}
    api = document({f"/{name}": {"get": {"operationId": name} | bad} for name in ("a", "b")})
    with pytest.raises(ValueError, match=r"a: expected .* exclude the operation; b: expected .* exclude the operation"):
        tools(api)


# ------------------------------------------------------------------ calls


@pytest.mark.parametrize(
    ("name", "arguments", "sent"),
    [
        ("listOrders", None, ("GET", "/shop/orders", "", "")),
        (
            "listOrders",
            {"limit": 5, "state": ["a b", "c&d"]},
            ("GET", "/shop/orders", "limit=5&state=a%20b&state=c%26d", ""),
        ),
        ("getOrder", {"id": "a b?#%"}, ("GET", "/shop/orders/a%20b%3F%23%25", "", "")),
        ("getOrder", {"id": "größe;v=1"}, ("GET", "/shop/orders/gr%C3%B6%C3%9Fe%3Bv%3D1", "", "")),
        ("getOrder", {"id": "..."}, ("GET", "/shop/orders/...", "", "")),
        ("DELETE_orders_id", {"id": "7"}, ("DELETE", "/shop/orders/7", "", "")),
        ("createOrder", {"body": {"item": "tée"}}, ("POST", "/shop/orders", "", '{"item":"tée"}')),
    ],
)
def test_a_call_is_a_request_of_the_api(name: str, arguments: Any, sent: Any) -> None:
    assert sent_of(call(name, arguments)) == sent


QUERIES: list[tuple[dict[str, Any], Any, str]] = [
    ({"explode": False}, ["a,b", "c"], "a=a%2Cb,c"),
    ({"style": "spaceDelimited", "explode": False}, ["a", "b"], "a=a%20b"),
    ({"style": "pipeDelimited", "explode": False}, ["a", "b"], "a=a%7Cb"),
    ({"style": "deepObject"}, {"b": 1, "c": ["x", True]}, "a%5Bb%5D=1&a%5Bc%5D=x&a%5Bc%5D=true"),
    ({}, {"b": 1, "c&d": None}, "b=1&c%26d="),
    ({"explode": False}, {"b": 1.5, "c": {"d": 1}}, "a=b,1.5,c,%7B%22d%22%3A1%7D"),
    ({"content": {JSON: {"schema": {}}}}, {"b": [1]}, "a=%7B%22b%22%3A%5B1%5D%7D"),
    ({}, True, "a=true"),
    ({}, "a&b=c", "a=a%26b%3Dc"),
]


@pytest.mark.parametrize(("described", "value", "query"), QUERIES)
def test_styles_of_the_query(described: dict[str, Any], value: Any, query: str) -> None:
    api = one({"parameters": [{"name": "a", "in": "query"} | described]})
    assert sent_of(call("x", {"a": value}, api))[2] == query


@pytest.mark.parametrize(
    ("described", "value", "path"),
    [
        ({}, ["a", "b c"], "a,b%20c"),
        ({}, {"a": 1, "b": 2}, "a,1,b,2"),
        ({"explode": True}, {"a": 1, "b": 2}, "a%3D1,b%3D2"),
        ({"content": {JSON: {"schema": {}}}}, [1], "%5B1%5D"),
        ({}, 7, "7"),
    ],
)
def test_styles_of_the_path(described: dict[str, Any], value: Any, path: str) -> None:
    api = one({"parameters": [{"name": "a", "in": "path"} | described]}, "/x/{a}.json")
    assert sent_of(call("x", {"a": value}, api))[1] == f"/shop/x/{path}.json"


def test_headers_are_those_of_the_api() -> None:
    client = {
        "accept": "text/event-stream",
        "authorization": "Bearer t",
        "cookie": "a=b",
        "user-agent": "agent",
        "mcp-session-id": "s",
        "mcp-protocol-version": "2025-11-25",
        "if-none-match": "x",
        "x-own": "1",
    }
    action = call("listOrders", {"X-Tenant": "acme"}, headers=client)
    assert set(action.remove_headers) == {*client, "content-type"} - {"user-agent", "x-own"}
    assert dict(action.set_headers) == {"accept": policy.to_request.__globals__["ACCEPT"], "x-tenant": "acme"}
    passed = call("listOrders", {}, headers=client, clientCredentials="pass")
    assert not {"authorization", "cookie"} & set(passed.remove_headers)
    assert call("createOrder", {"body": {"item": "a"}}).set_headers["content-type"] == JSON


def test_headers_of_the_publishers_are_in_each_request() -> None:
    own = [
        {"name": "Authorization", "value": testing.secret("Bearer api")},
        {"name": "x-tenant", "value": testing.secret("a")},
    ]
    action = call("listOrders", {"X-Tenant": "b"}, headers={"authorization": "Bearer client"}, headers_of_api=own)
    assert action.set_headers["authorization"] == "Bearer api"
    assert action.set_headers["x-tenant"] == "a"
    with pytest.raises(ValueError, match="headers: expected printable ASCII characters as the value of x-a"):
        tools(headers_of_api=[{"name": "x-a", "value": testing.secret("a\r\nb")}])


@pytest.mark.parametrize(
    ("media", "body", "sent"),
    [
        ("application/x-www-form-urlencoded", {"a b": ["1", 2], "c": "&"}, "a+b=1&a+b=2&c=%26"),
        ("text/plain", "as it is", "as it is"),
        ("application/merge-patch+json", {"a": None}, '{"a":null}'),
        ("*/*", [1], "[1]"),
    ],
)
def test_bodies_of_other_media_types(media: str, body: Any, sent: str) -> None:
    action = call("x", {"body": body}, one({"requestBody": {"content": {media: {}}}}, method="patch"))
    assert (action.body, action.set_headers["content-type"]) == (sent, JSON if media == "*/*" else media)


@pytest.mark.parametrize(
    "value",
    [
        *("", ".", "..", "../admin", "a/b", "a\\b", "/", "%2e%2e", "%2E.", "%252e%252e", "a%2fb", "a%252Fb", "%5c"),
        *("..;x=1", ". ", " ..", "..\t", "a\0b", "a\nb", "%00", "..%3bx", "\x7f"),
    ],
)
def test_no_argument_leads_to_another_path(value: str) -> None:
    assert refused(call("getOrder", {"id": value})).endswith("since it is a part of the path")
    api = one({"parameters": [{"name": "a", "in": "path"}]}, "/x/{a}")
    for wrapped in ([value, "b"], {"b": value}):
        if value:
            assert "part of the path" in refused(call("x", {"a": wrapped}, api))


@given(st.text(max_size=20))
def test_any_argument_is_one_segment_or_refused(value: str) -> None:
    action = call("getOrder", {"id": value})
    if isinstance(action, UpstreamRequestModifications):
        path = str(action.path)
        assert path.startswith("/shop/orders/")
        assert path.count("/") == 3
        assert path.isascii()
        assert action.query == ""


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(), st.lists))
def test_any_arguments_are_answered(value: Any) -> None:
    for arguments in ({"limit": value}, {"state": value}, {"X-Tenant": value}, {"body": value}, value):
        for name in ("listOrders", "createOrder"):
            action = send(message("tools/call", name=name, arguments=arguments))
            assert isinstance(action, ImmediateResponse | UpstreamRequestModifications)


@pytest.mark.parametrize(
    ("name", "arguments", "text"),
    [
        ("getOrder", {}, 'arguments: "id" is a required property'),
        ("getOrder", {"id": 7}, '/id: 7 is not of type "string"'),
        ("listOrders", {"limit": 101}, "/limit: 101 is greater than the maximum of 100"),
        ("listOrders", {"limit": "5", "other": 1}, "('other' was unexpected)"),
        ("listOrders", {"Authorization": "Bearer x"}, "unexpected"),
        ("listOrders", {"session": "x"}, "unexpected"),
        ("createOrder", {"body": {}}, '/body: "item" is a required property'),
        ("createOrder", {"body": {"item": "a", "parent": {"item": 1}}}, "/body/parent/item: 1 is not"),
        ("listOrders", {"X-Tenant": "a\r\nx-admin: 1"}, "expected no control characters"),
    ],
)
def test_arguments_that_do_not_fit_are_for_the_model_to_correct(name: str, arguments: Any, text: str) -> None:
    assert text in refused(call(name, arguments))


def test_half_a_character_and_great_depth_are_no_arguments() -> None:
    deep: Any = "end"
    for _ in range(100):
        deep = {"parent": deep}
    assert "at most 64 levels" in refused(call("createOrder", {"body": deep}))
    half = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"getOrder","arguments":{"id":"\\ud800"}}}'
    assert error_of(send(half))["code"] == -32700


def test_a_message_that_is_no_call_of_a_tool_is_answered_by_the_server() -> None:
    initialized = result_of(send(message("initialize", protocolVersion="2025-06-18"), server={"name": "Shop"}))
    assert (initialized["protocolVersion"], initialized["serverInfo"]["name"]) == ("2025-06-18", "Shop")
    assert result_of(send(message("ping"))) == {}
    assert send({"jsonrpc": "2.0", "method": "notifications/initialized"}).status_code == 202
    assert error_of(call("other"))["message"] == "Unknown tool: other"
    assert error_of(call("getOrder", ["id"]))["message"] == "params.arguments: expected an object"
    assert error_of(send(message("tools/list", cursor="2")))["code"] == -32602
    for method in ("resources/list", "prompts/get", "logging/setLevel", "tools/install"):
        params = {"name": "a"} if method == "prompts/get" else {}
        assert error_of(send(message(method, **params)))["code"] == -32601


def test_the_stateless_revision_has_its_own_results() -> None:
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    lines = {"mcp-protocol-version": "2026-07-28", "mcp-method": "tools/list"}
    listed = result_of(send(message("tools/list", _meta=meta), headers=lines))
    assert (listed["resultType"], listed["cacheScope"], len(listed["tools"])) == ("complete", "private", 4)
    lines |= {"mcp-method": "tools/call", "mcp-name": "getOrder"}
    action = send(message("tools/call", _meta=meta, name="getOrder", arguments={"id": "7"}), headers=lines)
    assert sent_of(action)[1] == "/shop/orders/7"
    assert {"mcp-method", "mcp-name"} <= set(action.remove_headers)


# ------------------------------------------------------------------ results


def answered(status: int, body: bytes, headers: dict[str, str], revision: str = "2025-11-25", number: Any = 1) -> Any:
    """The result that the client gets of an answer of the API."""
    note = {"id": number, "revision": revision, "tool": "getOrder"}
    ctx = testing.request(metadata={"mcp-tools": note})
    action = policy.on_response(testing.response(status, headers=headers, body=body, request=ctx), {})
    document = json.loads(action.body)
    assert (action.status_code, dict(action.headers), document["id"]) == (200, {"content-type": JSON}, number)
    return document["result"]


@pytest.mark.parametrize(
    ("body", "structured"),
    [(b'{"a": 1}', {"a": 1}), (b"[1, 2]", {"result": [1, 2]}), (b"null", {"result": None}), (b'"x"', {"result": "x"})],
)
def test_json_is_the_result_as_a_structure_and_as_text(body: bytes, structured: Any) -> None:
    for kind in (JSON, "application/hal+json; charset=utf-8"):
        result = answered(200, body, {"content-type": kind, "set-cookie": "a=b"})
        assert result["structuredContent"] == structured
        assert result["content"] == [{"type": "text", "text": body.decode()}]
        assert (result["isError"], result["_meta"]) == (False, {"gatewright.dev/status": 200})


@pytest.mark.parametrize("status", [301, 400, 404, 500, 503, 599])
def test_a_status_that_is_no_success_is_an_error_of_the_tool(status: int) -> None:
    result = answered(status, b'{"title": "No"}', {"content-type": "application/problem+json", "retry-after": "3"})
    assert result["isError"] is True
    assert result["content"][0]["text"].startswith(f"The API answered {status}")
    assert result["content"][0]["text"].endswith("Retry after: 3.")
    assert result["structuredContent"] == {"title": "No"}


@pytest.mark.parametrize(
    ("kind", "body", "content"),
    [
        ("text/plain", b"hello", {"type": "text", "text": "hello"}),
        ("text/plain; charset=iso-8859-1", b"gr\xfc\xdfe", {"type": "text", "text": "grüße"}),
        ("application/xml", b"<a/>", {"type": "text", "text": "<a/>"}),
        ("", b"hello", {"type": "text", "text": "hello"}),
        (JSON, b'{"a": NaN}', {"type": "text", "text": '{"a": NaN}'}),
        (JSON, b"{", {"type": "text", "text": "{"}),
        (JSON, b"[" * 100_000, {"type": "text", "text": "[" * 100_000}),
        ("image/png", b"\x89PNG", {"type": "image", "data": "iVBORw==", "mimeType": "image/png"}),
        ("audio/wav", b"RIFF", {"type": "audio", "data": "UklGRg==", "mimeType": "audio/wav"}),
    ],
)
def test_other_media_types(kind: str, body: bytes, content: Any) -> None:
    result = answered(200, body, {"content-type": kind} if kind else {})
    assert result["content"] == [content]
    assert "structuredContent" not in result


@pytest.mark.parametrize(("kind", "body"), [("application/pdf", b"%PDF"), ("text/plain", b"\xff"), (JSON, b"\xfa")])
def test_bytes_that_are_no_text_are_a_resource(kind: str, body: bytes) -> None:
    (content,) = answered(200, body, {"content-type": kind})["content"]
    assert (content["type"], content["resource"]["mimeType"]) == ("resource", kind)


def test_an_answer_without_a_body_has_its_status() -> None:
    result = answered(204, b"", {}, revision="2026-07-28", number="a")
    assert result["content"] == [{"type": "text", "text": "The API answered 204 No Content."}]
    assert (result["isError"], result["resultType"]) == (False, "complete")


def test_half_a_character_in_the_apis_answer_is_text_alone() -> None:
    result = answered(200, b'{"a": "\\ud800"}', {"content-type": JSON})
    assert "structuredContent" not in result
    assert result["content"][0]["text"] == '{"a": "\\ud800"}'


def test_calls_are_counted_by_tool_and_outcome() -> None:
    testing.reset_metrics(policy)
    call("getOrder", {})
    call("invented", {})
    answered(200, b"", {})
    answered(500, b"", {})
    calls = testing.metric(policy, "mcp_tools_calls_total")
    counted = [calls.value(tool="getOrder", outcome=outcome) for outcome in ("arguments", "ok", "api_error")]
    assert counted == [1, 1, 1]
