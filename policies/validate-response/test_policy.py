import json
import logging
from pathlib import Path
from typing import Any

import pytest
from sdk import testing
from sdk.policy import PolicyMetadata

policy = testing.load_policy(__file__)
ABOUT = PolicyMetadata("validate-response", "v1.0.0", operation="GET /orders/{id}")
DEFAULTS: dict[str, Any] = {
    "contentTypes": ["application/json"],
    "statuses": ["2XX"],
    "undescribed": "pass",
    "onInvalid": "refuse",
    "maxErrors": 10,
    "showValues": False,
    "formats": True,
    "maxDepth": 64,
    "duplicateNames": "refuse",
}
ORDER = {
    "type": "object",
    "required": ["id", "secret"],
    "properties": {"id": {"type": "integer"}, "secret": {"type": "string", "writeOnly": True}},
}


def described(schema: Any) -> Any:
    return {"description": "", "content": {"application/json": {"schema": schema}}}


DOCUMENT = {
    "openapi": "3.1.0",
    "info": {"title": "Orders", "version": "1"},
    "paths": {
        "/orders/{id}": {
            "get": {
                "operationId": "read",
                "responses": {
                    "200": described({"$ref": "#/components/schemas/Order"}),
                    "202": {"description": "not yet"},
                    "4XX": described({"required": ["title"]}),
                },
            }
        },
    },
    "components": {"schemas": {"Order": ORDER}},
}


def execute_response(
    body: bytes | None, status: int = 200, *, headers: Any = None, method: str = "GET", **params: Any
) -> Any:
    params = testing.params({**DEFAULTS, **params})
    with testing.prepared(policy, params, ABOUT) as prepared:
        request = testing.request(
            method, "/shop/orders/7", operation=f"{method} /orders/{{id}}", prepared=prepared, policy=ABOUT
        )
        sent = {"content-type": "application/json"} if headers is None else headers
        action = policy.on_response(testing.response(status, headers=sent, body=body, request=request), params)
    return action, request.metadata.to_dict()


def passes(*args: Any, **more: Any) -> bool:
    action, _ = execute_response(*args, **more)
    if action is not None:
        assert action.status_code == 502
        assert json.loads(action.body) == {
            "type": "about:blank", "title": "Bad Gateway", "status": 502, "detail": "the upstream's response is invalid"
        }  # fmt: skip
    return action is None


def test_a_schema_applies_to_its_statuses() -> None:
    schema = {"required": ["id"]}
    assert passes(b'{"id": 1}', schema=schema)
    assert not passes(b"{}", schema=schema)
    assert not passes(b"{}", 299, schema=schema)
    assert passes(b"no JSON", 404, schema=schema)
    assert not passes(b"{}", 404, schema=schema, statuses=["200", "404"])


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff", b"[" * (1 << 20), b'{"id": 1, "id": 2}', b'{"id": NaN}', b"<html>"]
)
def test_a_body_that_is_not_json_is_invalid(body: bytes) -> None:
    assert not passes(body, schema=True)


def test_responses_without_a_body_pass() -> None:
    assert passes(None, 204, schema=ORDER)
    assert passes(None, 200, schema=ORDER, method="HEAD")


@pytest.mark.parametrize(
    ("body", "charset"),
    [
        (rb'{"name": "\ud83d"}', "utf-8"),
        (rb'{"\ud83d": 1}', "utf-8"),
        (b'{"name": "\xff"}', "utf-8"),
        (b"{}", "idna"),
        (b"{}", "\udcff"),
    ],
)
def test_text_that_is_not_unicode_is_upstreams_mistake(body: bytes, charset: str) -> None:
    schema = {"properties": {"name": {"maxLength": 5}}, "propertyNames": {"pattern": "^.*$"}}
    sent = {"content-type": f"application/json; charset={charset}"}
    assert not passes(body, schema=schema, headers=sent)
    action, noted = execute_response(body, schema=schema, headers=sent, onInvalid="report")
    assert (action, noted["validate-response"]["reason"]) == (None, "syntax")


@pytest.mark.parametrize("headers", [{}, {"content-type": "text/html"}, {"content-type": ["application/json"] * 2}])
def test_another_content_type_is_invalid(headers: Any) -> None:
    assert not passes(b"{}", schema=True, headers=headers)


def test_mistakes_are_logged_without_the_values(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert not passes(b'{"id": "hunter2"}', openapi=DOCUMENT)
    (record,) = caplog.records
    assert 'invalid response with status 200: schema: [{"in": "body", "pointer": "/id"' in record.getMessage()
    assert "hunter2" not in record.getMessage()


def test_a_document_has_a_schema_for_each_status() -> None:
    assert passes(b'{"id": 1}', openapi=DOCUMENT), "what is write-only is not required of a response"
    assert not passes(b'{"id": "1"}', openapi=DOCUMENT)
    assert not passes(b"{}", 404, openapi=DOCUMENT)
    assert passes(None, 202, openapi=DOCUMENT)
    assert not passes(b"{}", 202, openapi=DOCUMENT)
    assert passes(b"Oops.", 500, openapi=DOCUMENT)
    assert not passes(b"Oops.", 500, openapi=DOCUMENT, undescribed="refuse")
    assert passes(b'{"id": 1}', openapi=DOCUMENT, operationId="read")


def test_report_passes_the_response_and_puts_the_mistakes_into_the_metadata() -> None:
    testing.reset_metrics(policy)
    action, noted = execute_response(b"[]", openapi=DOCUMENT, onInvalid="report")
    assert action is None
    assert noted["validate-response"]["reason"] == "schema"
    assert testing.metric(policy, "invalid_responses_total").value(reason="schema") == 1


NESTED = {"type": "object", "properties": {"tags": {"items": {"format": "uuid"}}}, "required": ["tags"]}


@pytest.mark.parametrize(
    "body",
    [
        b'{"tags": []}', b'{"tags": ["no", 1, "67e55044-10b1-426f-9247-bb680e5fe0c8"]}', b"{}", b"[]", b"{", b"\xff",
        b'{"tags": 1, "tags": 2}', b'{"tags": NaN}', b"[" * 1000,
    ],
)  # fmt: skip
def test_it_finds_what_validate_request_finds(body: bytes) -> None:
    """Both policies check by the same rules, so that requests and responses are held to the same schema."""
    _, noted = execute_response(body, schema=NESTED, onInvalid="report")
    params = testing.params({**DEFAULTS, "schema": NESTED, "onInvalid": "report", "bodyRequired": True})
    about = PolicyMetadata("validate-request", "v1.0.0")
    other = testing.load_policy(str(Path(__file__).parent.parent / "validate-request" / "policy.py"))
    with testing.prepared(other, params, about) as prepared:
        sent = {"content-type": "application/json"}
        ctx = testing.request("POST", "/", headers=sent, body=body, prepared=prepared, policy=about)
        assert other.on_request(ctx, params) is None
    assert ctx.metadata.to_dict().get("validate-request") == noted.get("validate-response")
