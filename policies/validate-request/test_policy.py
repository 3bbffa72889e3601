import json
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sdk import testing
from sdk.policy import PolicyMetadata, UpstreamRequestModifications

policy = testing.load_policy(__file__)
DEFAULTS: dict[str, Any] = {
    "contentTypes": ["application/json", "application/*+json"],
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
ORDER = {
    "type": "object",
    "required": ["item"],
    "additionalProperties": False,
    "properties": {
        "item": {"type": "string", "pattern": "^[a-z]+$"},
        "count": {"type": "integer", "minimum": 1},
        "mail": {"format": "email"},
        "parts": {"type": "array", "items": {"$ref": "#"}},
    },
}


def execute(
    body: bytes | None = None,
    *,
    at: str = "",
    headers: Any = None,
    method: str = "POST",
    path: str = "/",
    query: str = "",
    operation: str = "",
    **params: Any,
) -> Any:
    """Returns the answer to a request; None if it passes. at: the operation that the policy is attached to."""
    params = testing.params({**DEFAULTS, **params})
    about = PolicyMetadata("validate-request", "v1.0.0", operation=at)
    with testing.prepared(policy, params, about) as prepared:
        sent = {"content-type": "application/json"} if headers is None else headers
        ctx = testing.request(
            method,
            path,
            query=query,
            headers=sent,
            body=body,
            operation=operation or at,
            prepared=prepared,
            policy=about,
        )
        action = policy.on_request(ctx, params)
    assert not isinstance(action, UpstreamRequestModifications)
    return action


def errors(answer: Any, status: int = 400) -> list[Any]:
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    problem = json.loads(answer.body)
    assert problem["status"] == status
    mistakes: list[Any] = problem["errors"]
    return mistakes


# ------------------------------------------------------------------ a schema


def test_valid_bodies_pass() -> None:
    assert execute(b'{"item": "bolt", "count": 2, "parts": [{"item": "nut"}]}', schema=ORDER) is None
    assert execute(b"{}", schema=True) is None
    assert execute(b'{"item": "bolt"}', schema=ORDER, headers={"content-type": "application/vnd.x+JSON; a=b"}) is None


def test_mistakes_are_listed_without_the_values() -> None:
    answer = execute(b'{"item": "hunter2!", "count": 0, "mail": "hunter3", "parts": [{}]}', schema=ORDER)
    assert sorted(error["pointer"] for error in errors(answer)) == ["/count", "/item", "/mail", "/parts/0"]
    assert "hunter" not in answer.body
    shown = execute(b'{"item": "hunter2!"}', schema=ORDER, showValues=True)
    assert errors(shown) == [
        {"in": "body", "pointer": "/item", "message": '"hunter2!" does not match "^[a-z]+$"'},
    ]


def test_a_limited_number_of_mistakes_is_reported_and_one_of_a_large_body() -> None:
    schema = {"items": {"type": "integer"}}
    assert len(errors(execute(json.dumps(["a"] * 50).encode(), schema=schema, maxErrors=3))) == 3
    began = time.process_time()
    assert len(errors(execute(json.dumps(["a"] * 200_000).encode(), schema=schema, maxErrors=100))) == 1
    assert time.process_time() - began < 10


def test_long_messages_and_pointers_are_shortened() -> None:
    for body in ({"x" * 100_000: 1}, {str(at): 1 for at in range(900)}):
        (error,) = errors(
            execute(json.dumps(body).encode(), schema={"properties": {"a": {}}, "additionalProperties": False})
        )
        assert len(error["message"]) == 257
    (error,) = errors(
        execute(json.dumps({"x" * 100_000: 1}).encode(), schema={"additionalProperties": {"type": "string"}})
    )
    assert len(error["pointer"]) == 257


def test_the_status_is_configured() -> None:
    assert len(errors(execute(b"{}", schema=ORDER, statusCode=422), 422)) == 1


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "a body is required"),
        (None, "a body is required"),
        (b'{"item": ', "expected JSON: Expecting value"),
        (b'{"item": "a", "item": "b"}', "has a name twice"),
        (b'{"item": "a", "parts": [{"item": "a", "item": "b"}]}', "has a name twice"),
        (b'{"count": NaN}', "NaN and Infinity"),
        (b'{"count": -Infinity}', "NaN and Infinity"),
        (b'{"count": 1e999}', "larger than a double"),
        (b'{"count": ' + b"9" * 5000 + b"}", "at most 4300 digits"),
        (b'{"item": "\xff"}', "expected UTF-8, got something else at byte 10"),
        (b'\xef\xbb\xbf{"item": "a"}', "BOM"),
        ('{"item": "a"}'.encode("utf-16"), "expected UTF-8"),
        (b"[" * (1 << 20), "at most 64 levels"),
        (b'{"a":' * (1 << 17), "at most 64 levels"),
        (b"[" * 65 + b"]" * 65, "at most 64 levels"),
    ],
)
def test_invalid_json_is_refused(body: bytes | None, message: str) -> None:
    began = time.process_time()
    (error,) = errors(execute(body, schema=True))
    assert message in error["message"]
    assert time.process_time() - began < 10


def test_bounds_can_be_extended() -> None:
    assert execute(b"[" * 64 + b"]" * 64, schema=True) is None
    assert execute(b"[" * 64 + b"0" + b"]" * 64, schema=True) is None
    assert execute(b"[" * 256 + b"]" * 256, schema={"items": {"$ref": "#"}}, maxDepth=256) is None
    assert execute(b'{"a": 1, "a": 2}', schema=True, duplicateNames="pass") is None
    assert execute(None, schema=ORDER, bodyRequired=False) is None


def test_large_integers_are_compared_exactly() -> None:
    schema = {"type": "integer", "maximum": 10**30}
    assert execute(b"1" + b"0" * 30, schema=schema) is None
    assert len(errors(execute(b"1" + b"0" * 29 + b"1", schema=schema))) == 1


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"content-type": "text/plain"},
        {"content-type": "application/jsonx"},
        {"content-type": ["application/json", "text/plain"]},
    ],
)
def test_another_content_type_is_415(headers: Any) -> None:
    (error,) = errors(execute(b"{}", schema=True, headers=headers), 415)
    assert error["message"] == "expected one content-type: application/json, application/*+json"


def test_a_pattern_takes_linear_time() -> None:
    """An engine that backtracks takes exponential time for `(a+)+$`."""
    began = time.process_time()
    assert errors(execute(json.dumps("a" * 200_000 + "b").encode(), schema={"pattern": "^(a+)+$"}))
    assert time.process_time() - began < 10


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"type": "objekt"}, "#/type"),
        ({"properties": {"a": {"pattern": "(?=a)"}}}, "#/properties/a/pattern.*without look-around"),
        ({"properties": {"a": {"pattern": r"(a)\1"}}}, "#/properties/a/pattern"),
        ({"pattern": r"(\d{1000}){1000}"}, "#/pattern"),
        ({"$ref": "#/$defs/none"}, "/\\$defs/none"),
        ({"$ref": "file:///etc/passwd"}, "Retrieval is disabled"),
    ],
)
def test_an_invalid_schema_is_refused_with_the_place(schema: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        execute(b"{}", schema=schema)


def test_nothing_is_fetched() -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.path)
            self.send_error(404)

    seen: list[str] = []
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/schema"
        body = {"content": {"application/json": {"schema": {"properties": {"a": {"$ref": url}}}}}}
        for params in ({"schema": {"$ref": url}}, {"openapi": document({"/a": {"post": {"requestBody": body}}})}):
            with pytest.raises(ValueError, match="schema"):
                execute(b"{}", **params)
        server.shutdown()
        thread.join()
    assert seen == []


def test_references_may_go_in_circles() -> None:
    schema = {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}
    assert execute(b"{}", schema=schema) is None


def test_report_passes_the_request_and_puts_the_mistakes_into_the_metadata() -> None:
    testing.reset_metrics(policy)
    params = testing.params({**DEFAULTS, "schema": ORDER, "onInvalid": "report"})
    about = PolicyMetadata("validate-request", "v1.0.0")
    with testing.prepared(policy, params, about) as prepared:
        ctx = testing.request(
            "POST", headers={"content-type": "application/json"}, body=b"{}", prepared=prepared, policy=about
        )
        assert policy.on_request(ctx, params) is None
    noted = ctx.metadata.to_dict()["validate-request"]
    assert (noted["reason"], [error["pointer"] for error in noted["errors"]]) == ("schema", [""])
    assert testing.metric(policy, "invalid_requests_total").value(reason="schema") == 1


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda of: st.lists(of, max_size=3) | st.dictionaries(st.text(max_size=3), of, max_size=3),
    max_leaves=10,
)


@settings(deadline=None)
@given(value=VALUES)
def test_any_json_passes_the_schema_true(value: Any) -> None:
    assert execute(json.dumps(value).encode(), schema=True) is None


@settings(deadline=None)
@given(body=st.binary(min_size=1, max_size=30))
def test_any_bytes_get_an_answer(body: bytes) -> None:
    answer = execute(body, schema=ORDER)
    assert answer is None or answer.status_code == 400


# ------------------------------------------------------------------ a document


def document(paths: Any, version: str = "3.1.0", **more: Any) -> Any:
    return {"openapi": version, "info": {"title": "Orders", "version": "1"}, "paths": paths, **more}


def body_of(schema: Any, media_type: str = "application/json", required: bool = True) -> Any:
    return {"requestBody": {"required": required, "content": {media_type: {"schema": schema}}}}


ORDERS = document(
    {
        "/orders": {
            "parameters": [{"$ref": "#/components/parameters/tenant"}],
            "get": {
                "operationId": "list",
                "parameters": [
                    {"name": "limit", "in": "query", "schema": {"type": "integer", "maximum": 100}},
                    {"name": "tag", "in": "query", "schema": {"type": "array", "items": {"type": "integer"}}},
                    {"name": "ids", "in": "query", "explode": False, "schema": {"type": "array", "maxItems": 2}},
                    {
                        "name": "sort",
                        "in": "query",
                        "style": "pipeDelimited",
                        "explode": False,
                        "schema": {"type": "array", "items": {"enum": ["a", "b"]}},
                    },
                    {
                        "name": "filter",
                        "in": "query",
                        "style": "deepObject",
                        "schema": {"type": "object", "properties": {"paid": {"type": "boolean"}}},
                    },
                    {"name": "where", "in": "query", "content": {"application/json": {"schema": {"type": "object"}}}},
                    {"name": "theme", "in": "cookie", "schema": {"enum": ["dark", "light"]}},
                ],
            },
            "post": {"operationId": "add", **body_of({"$ref": "#/components/schemas/Order"})},
        },
        "/orders/{id}": {
            "get": {
                "operationId": "read",
                "parameters": [{"name": "id", "in": "path", "required": True, "schema": {"type": "integer"}}],
            }
        },
        "/orders/latest": {"get": {"operationId": "latest"}},
        "/form": {
            "post": body_of(
                {
                    "type": "object",
                    "required": ["n"],
                    "properties": {"n": {"type": "integer"}, "of": {"type": "array", "items": {"type": "boolean"}}},
                },
                "application/x-www-form-urlencoded",
            )
        },
        "/text": {"post": body_of({"maxLength": 3}, "text/*", required=False)},
    },
    components={
        "parameters": {
            "tenant": {"name": "X-Tenant", "in": "header", "required": True, "schema": {"enum": ["blue", "green"]}}
        },
        "schemas": {
            "Order": {
                "type": "object",
                "required": ["id", "item"],
                "properties": {
                    "id": {"type": "integer", "readOnly": True},
                    "item": {"type": "string"},
                    "parts": {"type": "array", "items": {"$ref": "#/components/schemas/Order"}},
                },
            }
        },
    },
)
BLUE = {"x-tenant": "blue"}
JSON_BLUE = {"content-type": "application/json", **BLUE}


def listed(query: str = "", headers: Any = None) -> Any:
    sent = BLUE if headers is None else headers
    return execute(
        None, at="GET /orders", method="GET", path="/shop/v1/orders", query=query, headers=sent, openapi=ORDERS
    )


@pytest.mark.parametrize(
    "query",
    ["", "limit=100", "tag=1&tag=2", "ids=a,b", "ids=a%2Cb%2Cc", "sort=a|b", "sort=a%7Cb", "filter[paid]=true",
     "filter%5Bpaid%5D=false", "where=%7B%22a%22:1%7D", "other=1"],
)  # fmt: skip
def test_valid_queries(query: str) -> None:
    assert listed(query) is None


@pytest.mark.parametrize(
    ("query", "name", "pointer"),
    [
        ("limit=101", "limit", ""),
        ("limit=1e1", "limit", ""),
        ("limit=0x10", "limit", ""),
        ("limit=1&limit=2", "limit", ""),
        ("%6Cimit=1&limit=2", "limit", ""),
        ("limit=", "limit", ""),
        ("tag=1&tag=b", "tag", "/1"),
        ("ids=a,b,c", "ids", ""),
        ("sort=a|c", "sort", "/1"),
        ("filter[paid]=yes", "filter", "/paid"),
        ("filter[paid]=true&filter[paid]=false", "filter", ""),
        ("where=1", "where", ""),
        ("where=%7B", "where", ""),
        ("where=%FF", "where", ""),
    ],
)
def test_invalid_queries(query: str, name: str, pointer: str) -> None:
    (error,) = errors(listed(query))
    assert (error["in"], error["name"], error["pointer"]) == ("query", name, pointer)


@pytest.mark.parametrize(
    ("headers", "place"),
    [
        ({}, "header"),
        ({"x-tenant": "red"}, "header"),
        ({"x-tenant": ["blue", "green"]}, "header"),
        ({**BLUE, "cookie": "theme=pink"}, "cookie"),
        ({**BLUE, "cookie": "theme=dark; theme=light"}, "cookie"),
    ],
)
def test_headers_and_cookies(headers: Any, place: str) -> None:
    (error,) = errors(listed(headers=headers))
    assert error["in"] == place
    assert listed(headers={**BLUE, "cookie": "theme=dark"}) is None


def test_the_operation_is_found_by_the_operation_of_the_api() -> None:
    read = {"method": "GET", "headers": {}, "openapi": ORDERS}
    assert execute(at="GET /orders/{order}", path="/shop/orders/7", **read) is None
    assert errors(execute(at="GET /orders/{order}", path="/shop/orders/x", **read))[0]["name"] == "id"
    assert execute(operation="GET /orders/latest", path="/shop/orders/latest", **read) is None
    assert execute(operation="GET /orders/{id} [x-version=2]", path="/orders/7", **read) is None
    assert execute(operation="HEAD /orders/{id}", path="/orders/7", **{**read, "method": "HEAD"}) is None
    assert errors(execute(operation="GET /*", path="/orders/7", **read), 404)
    assert errors(execute(operation="DELETE /orders/{id}", path="/orders/7", **{**read, "method": "DELETE"}), 404)
    assert execute(operation="GET /*", path="/orders/7", undescribed="pass", **read) is None


def test_the_operation_is_found_by_the_path_below_a_base() -> None:
    read = {"method": "GET", "headers": {}, "openapi": ORDERS, "operation": "GET /*", "basePath": "/shop/v1"}
    assert execute(path="/shop/v1/orders/7", **read) is None
    assert execute(path="/shop/v1/orders/latest", **read) is None
    assert errors(execute(path="/shop/v1/orders/old", **read))[0]["in"] == "path"
    for path in ("/shop/v2/orders/7", "/shop/v1orders/7", "/shop/v1/orders/7/8", "/shop/v1/"):
        assert errors(execute(path=path, **read), 404)
    assert errors(execute(path="/shop/v1/orders/", **read))[0]["name"] == "X-Tenant"  # the same operation as /orders


SLASHED = {
    "openapi": "3.1.0",
    "paths": {
        "/items/": {"get": {"parameters": [{"in": "query", "name": "a", "required": True}]}},
        "/items/{id}/": {
            "get": {"parameters": [{"in": "path", "name": "id", "required": True, "schema": {"maxLength": 3}}]}
        },
        "/caf%c3%a9": {"get": {"parameters": [{"in": "query", "name": "b", "required": True}]}},
        "/users:all": {"get": {"parameters": [{"in": "query", "name": "c", "required": True}]}},
    },
}


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/items/", "a"), ("/items", "a"), ("/items/long/", "id"), ("/items/long", "id"),
        ("/caf%C3%A9", "b"), ("/caf%c3%a9", "b"), ("/users%3Aall", "c"), ("/users:all/", "c"),
    ],
)  # fmt: skip
def test_each_spelling_of_a_path_matches_the_document(path: str, name: str) -> None:
    read: Any = {"method": "GET", "headers": {}, "openapi": SLASHED, "operation": "GET /*", "basePath": "/"}
    assert errors(execute(path=path, **read))[0]["name"] == name
    assert errors(execute(path=f"/x{path}", **{**read, "basePath": "/x"}))[0]["name"] == name


def test_the_operation_is_found_by_its_id() -> None:
    sent = {"headers": JSON_BLUE, "openapi": ORDERS, "operationId": "add", "operation": "POST /*"}
    assert execute(b'{"item": "bolt"}', path="/anywhere", **sent) is None
    assert errors(execute(b"{}", path="/anywhere", **sent))[0]["pointer"] == ""


def test_read_only_members_are_not_required_in_a_request() -> None:
    add = {"at": "POST /orders", "headers": JSON_BLUE, "openapi": ORDERS}
    assert execute(b'{"item": "bolt", "parts": [{"item": "nut"}]}', **add) is None
    assert errors(execute(b'{"item": "bolt", "parts": [{}]}', **add))[0]["pointer"] == "/parts/0"
    assert errors(execute(b"", **add))[0]["message"] == "a body is required"
    assert errors(execute(b"{}", **{**add, "headers": {**BLUE, "content-type": "text/plain"}}), 415)


def test_a_body_that_is_not_described() -> None:
    assert errors(execute(b"{}", at="GET /orders", method="GET", headers=JSON_BLUE, openapi=ORDERS))[0]["in"] == "body"


def test_forms_and_text() -> None:
    form = {"at": "POST /form", "headers": {"content-type": "application/x-www-form-urlencoded"}, "openapi": ORDERS}
    assert execute(b"n=1&of=true", **form) is None
    assert [error["pointer"] for error in errors(execute(b"n=1&n=2", **form))] == ["/n"]
    assert [error["pointer"] for error in errors(execute(b"n=x&of=no", **form))] == ["/n", "/of/0"]
    many = "&".join(f"a{at}=1" for at in range(100_000)).encode()
    began = time.process_time()
    assert errors(execute(many, **form))[0]["message"] == '"n" is a required property'
    assert time.process_time() - began < 10
    text = {"at": "POST /text", "headers": {"content-type": "text/plain; charset=utf-8"}, "openapi": ORDERS}
    assert (execute(b"abc", **text), execute(None, **text)) == (None, None)
    assert errors(execute(b"abcd", **text))
    assert errors(execute(b"\xff", **text))[0]["message"].startswith("expected UTF-8")
    for charset, body in (("utf-16", "é€x".encode("utf-16")), ("iso-8859-15", "é€x".encode("iso-8859-15"))):
        assert execute(body, **{**text, "headers": {"content-type": f"text/plain; charset={charset}"}}) is None


def test_differences_of_openapi_3_0() -> None:
    schema = {
        "type": "object",
        "properties": {
            "a": {"type": "string", "nullable": True, "enum": ["x"]},
            "default": {"type": "integer", "minimum": 1, "exclusiveMinimum": True, "nullable": True},
        },
    }
    old = {"at": "POST /a", "openapi": document({"/a": {"post": body_of(schema)}}, "3.0.3")}
    assert execute(b'{"a": null, "default": null}', **old) is None
    assert execute(b'{"a": "x", "default": 2}', **old) is None
    assert [error["pointer"] for error in errors(execute(b'{"a": "y", "default": 1}', **old))] == ["/a", "/default"]


def test_the_document_may_be_a_string() -> None:
    assert errors(execute(b"{}", at="POST /orders", headers=JSON_BLUE, openapi=json.dumps(ORDERS)))


def bad(paths: Any) -> Any:
    return {"at": "GET /a", "openapi": document(paths)}


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"openapi": "openapi: 3.1.0"}, "expected an OpenAPI document as JSON"),
        ({"openapi": {"swagger": "2.0"}}, "openapi: 3.0.x or 3.1.x, got None"),
        ({"openapi": document([])}, "paths"),
        ({"openapi": document({})}, "got one with none"),
        ({"openapi": ORDERS, "at": "GET /other"}, "with GET /other, got one with GET /orders, POST"),
        ({"openapi": ORDERS, "operationId": "other"}, "with operationId other"),
        (bad({"/a": {"$ref": "#/none"}}), "expected a value at #/none"),
        (bad({"/a": {"$ref": "other.yaml"}}), "nothing is fetched"),
        (bad({"/a": {"$ref": "#/paths/~1b"}, "/b": {"$ref": "#/paths/~1a"}}), "more than 32"),
        (bad({"/a": {"get": {"parameters": [{"name": "q", "in": "query", "style": "matrix"}]}}}), "styles form"),
        (bad({"/a": {"get": body_of({"type": "strin"})}}), "#/paths/~1a/get/requestBody.*/type"),
        (bad({"/{a}-{b}": {"get": {}}, "/a": {"get": {}}}) | {"at": ""}, "at most one variable"),
    ],
)  # fmt: skip
def test_an_invalid_document_is_refused_with_the_place(params: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        execute(None, method="GET", **params)
