import asyncio
from typing import Any

import pytest
from gatewright import testing
from gatewright.policy import (
    FailureClass,
    ImmediateResponse,
    Peer,
    Policy,
    PolicyMetadata,
    RequestAction,
    RequestContext,
    ResponseAction,
    ResponseContext,
    UpstreamRequestModifications,
    UpstreamResponseModifications,
)
from hypothesis import given
from hypothesis import strategies as st


def on_request(ctx: RequestContext, params: dict[str, Any]) -> RequestAction:  # noqa: ARG001
    return UpstreamRequestModifications(set_headers={"X-Custom": "value"})


def on_response(ctx: ResponseContext, params: dict[str, Any]) -> ResponseAction:  # noqa: ARG001
    return None


def test_the_sample_of_the_contract() -> None:
    action = on_request(testing.request(), testing.params())
    assert action == UpstreamRequestModifications(set_headers={"X-Custom": "value"})
    assert on_response(testing.response(), testing.params()) is None


def test_the_fields_of_a_request() -> None:
    ctx = testing.request(
        "POST", "/orders/7", query="a=b", headers=[("X-A", "1"), ("x-a", b"\xff")], body=b"{}", authority="api:80",
        metadata={"n": 1}, prepared="ready", policy=PolicyMetadata("p", "v1.0.0", "orders-v1", "v1.0"),
        operation="POST /orders/{id}",
    )  # fmt: skip
    assert (ctx.method, ctx.path, ctx.query, ctx.scheme, ctx.authority) == (
        "POST",
        "/orders/7",
        "a=b",
        "http",
        "api:80",
    )
    assert (ctx.client_address, ctx.request_id, ctx.operation) == (
        "127.0.0.1:40000",
        "test-request",
        "POST /orders/{id}",
    )
    assert (ctx.api_name, ctx.api_version, ctx.body, ctx.prepared) == ("orders-v1", "v1.0", b"{}", "ready")
    assert ctx.headers.raw == [(b"x-a", b"1"), (b"x-a", b"\xff")]
    assert ctx.headers is ctx.headers
    assert dict(ctx.metadata) == {"n": 1}
    assert ctx.policy.system_params == {}
    assert (ctx.peer, ctx.upstream) == (None, None)


@given(st.builds(Peer, *[st.text()] * 2, *[st.lists(st.text(), max_size=3).map(tuple)] * 4, st.text()))
def test_any_peer_is_passed_on_unchanged(peer: Peer) -> None:
    assert testing.request(peer=peer).peer == peer
    assert testing.response(request=testing.request(peer=peer)).request.peer == peer


def test_the_upstream_that_was_chosen() -> None:
    assert testing.request(upstream="canary").upstream == "canary"


def test_a_response_brings_its_request_along() -> None:
    request = testing.request(path="/x", metadata={"n": 1}, prepared="ready")
    ctx = testing.response(404, headers={"Set-Cookie": ["a=1", "b=2"]}, body=b"no", request=request)
    assert (ctx.status_code, ctx.body, ctx.request.path, ctx.prepared) == (404, b"no", "/x", "ready")
    assert ctx.headers.get_all("set-cookie") == ["a=1", "b=2"]
    ctx.metadata["seen"] = True
    assert dict(request.metadata) == {"n": 1, "seen": True}
    assert ctx.policy is request.policy
    assert 0 < ctx.time_remaining() <= 1


@pytest.mark.parametrize("name", ["path", "body", "metadata", "headers", "params"])
def test_contexts_are_read_only(name: str) -> None:
    for ctx in (testing.request(), testing.response()):
        with pytest.raises(AttributeError):
            setattr(ctx, name, "x")


def test_time_runs_out_at_zero() -> None:
    assert 0 < testing.request(timeout=5).time_remaining() <= 5
    assert testing.request(timeout=-1).time_remaining() == 0


def test_the_trace_comes_from_its_headers() -> None:
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    trace = testing.request(headers={"traceparent": parent, "tracestate": ["a=1", "b=2"]}).trace_context
    assert trace == ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", True, "a=1,b=2")


@pytest.mark.parametrize(
    "parent", ["", "00", "ff-" + "1" * 32 + "-" + "1" * 16 + "-00", "00-" + "0" * 32 + "-" + "1" * 16 + "-00"]
)
def test_an_invalid_trace_is_none(parent: str) -> None:
    assert testing.request(headers={"traceparent": parent}).trace_context is None


def test_the_executions_own_span_is_none_of_the_clients() -> None:
    span = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    request = testing.request(traceparent=span, headers={"traceparent": "theirs"})
    assert (request.traceparent, testing.response(request=request).traceparent) == (span, span)
    assert (testing.request().traceparent, testing.response().traceparent) == ("", "")


def test_every_modification_starts_as_no_change() -> None:
    request, response, answer = UpstreamRequestModifications(), UpstreamResponseModifications(), ImmediateResponse(401)
    assert request.body is request.path is request.query is request.method is request.authority is None
    assert request.upstream is None
    assert (response.body, response.status_code) == (None, None)
    assert (answer.headers, answer.body) == ({}, b"")
    assert request.set_headers is not UpstreamRequestModifications().set_headers
    with pytest.raises(TypeError):
        UpstreamRequestModifications(headers={})  # type: ignore[call-arg]


def test_an_async_policy_needs_no_gateway_either() -> None:
    async def on_request(ctx: RequestContext, params: dict[str, Any]) -> RequestAction:  # noqa: ARG001
        await asyncio.sleep(0)
        return ImmediateResponse(401)

    assert asyncio.run(on_request(testing.request(), testing.params())) == ImmediateResponse(401)


def test_the_deprecated_class_passes_through() -> None:
    assert Policy().on_request(testing.request(), {}) is None
    assert Policy().on_response(testing.response(), {}) is None


def test_params_are_checked_and_read_only() -> None:
    params = testing.params({"a": [1]}, b=None)
    assert params == {"a": [1], "b": None}
    with pytest.raises(TypeError, match="read-only"):
        params["a"].append(2)
    with pytest.raises(TypeError, match=r"params\['a'\]: expected a JSON value"):
        testing.params(a=object())


def test_the_words_of_failure() -> None:
    assert [*FailureClass] == [
        "timeout", "overloaded", "unavailable", "crashed", "exception", "badAction", "bodyTooLarge", "badBody",
    ]  # fmt: skip
