import json
from typing import Any

import pytest
from gatewright.action import MAX_BODY_BYTES
from gatewright.peer import encode_peer
from gatewright.policy import (
    FailureClass,
    ImmediateResponse,
    Metadata,
    Peer,
    PolicyMetadata,
    UpstreamRequestModifications,
    UpstreamResponseModifications,
)
from gatewright_executor._gen import python_executor_pb2 as pb
from gatewright_executor.convert.translator import (
    encode_action,
    encode_failure,
    request_context,
    response_context,
)
from gatewright_executor.policies.failure import Failure, PolicyError
from gatewright_executor.testing import request_execution, response_execution
from hypothesis import given
from hypothesis import strategies as st

ABOUT = PolicyMetadata("p", "v1.0.0", "orders", "v1")
REQUEST, RESPONSE = UpstreamRequestModifications, UpstreamResponseModifications


def encoded(returned: object, phase: int = pb.PHASE_REQUEST, metadata: Metadata | None = None) -> pb.Action:
    return pb.Action.FromString(encode_action(7, phase, returned, metadata or Metadata()))


def test_a_request_as_a_policy_sees_it() -> None:
    execution = request_execution(1, headers=[("x-a", b"\xff"), ("x-a", "2")])
    execution.request_body, execution.metadata = b"", b'{"n": 1, "deep": {"flag": true, "none": null}}'
    ctx = request_context(execution, ABOUT, None, 0.0)
    assert (ctx.method, ctx.path, ctx.query, ctx.scheme, ctx.authority) == (
        "GET",
        "/orders/1",
        "a=b",
        "http",
        "localhost",
    )
    assert (ctx.client_address, ctx.request_id, ctx.operation) == ("127.0.0.1:1", "request-1", "GET /orders/{id}")
    assert (ctx.api_name, ctx.api_version, ctx.prepared, ctx.body) == ("orders", "v1", None, b"")
    assert ctx.headers.raw == [(b"x-a", b"\xff"), (b"x-a", b"2")]
    assert json.dumps(dict(ctx.metadata)) == '{"n": 1, "deep": {"flag": true, "none": null}}'
    assert request_context(request_execution(1), ABOUT, None, 0.0).body is None


def test_the_peer_and_the_upstream() -> None:
    execution = request_execution(1)
    ctx = request_context(execution, ABOUT, None, 0.0)
    assert (ctx.peer, ctx.upstream) == (None, None)
    peer = Peer("CN=é,O=a\\, b", "CN=ca", ("a,b", '"'), ("urn:\0",), ("a@b",), ("::1",), "00ff")
    execution.peer, execution.upstream = encode_peer(peer), b"canary"
    assert (ctx.peer, ctx.upstream) == (peer, "canary")
    assert response_context(execution, ABOUT, None, 0.0).request.peer == peer


def test_a_response_as_a_policy_sees_it() -> None:
    execution = response_execution(1, headers={"set-cookie": ["a=1", "b=2"]}, status=404)
    execution.response_body = b"no"
    ctx = response_context(execution, ABOUT, None, 0.0)
    assert (ctx.status_code, ctx.body, ctx.request.path, ctx.request.body) == (404, b"no", "/orders/1", None)
    assert ctx.headers.get_all("Set-Cookie") == ["a=1", "b=2"]


def test_nothing_is_pass_through() -> None:
    assert encoded(None) == encoded(REQUEST()) == encoded(RESPONSE(), pb.PHASE_RESPONSE) == pb.Action(id=7)


def test_all_that_a_request_modification_can_say() -> None:
    action = encoded(
        REQUEST(
            set_headers={"X-A": "é", "x-b": [b"\xff", "2"]}, remove_headers=["X-C", "x-d"],
            append_headers={"X-E": ("1",)}, body="text", path="/a/b", query="", method="PUT", authority="h:1",
            upstream="canary", analytics_metadata={"n": [1, None]},
        )
    )  # fmt: skip
    assert action == pb.Action(
        id=7, set_headers=b"x-a\0\xc3\xa9\0x-b\0\xff\0x-b\x002\0", remove_headers=b"x-c\0x-d\0",
        append_headers=b"x-e\x001\0",
        body=b"text", path=b"/a/b", query=b"", method=b"PUT", authority=b"h:1", upstream=b"canary",
        analytics_metadata=b'{"n":[1,null]}',
    )  # fmt: skip


def test_all_that_a_response_modification_can_say() -> None:
    cookies = ["a=1; Path=/", "b=2"]
    action = encoded(RESPONSE(append_headers={"Set-Cookie": cookies}, body=b"", status_code=404), pb.PHASE_RESPONSE)
    assert action == pb.Action(
        id=7, append_headers=b"set-cookie\0a=1; Path=/\0set-cookie\0b=2\0", body=b"", status_code=404
    )
    assert action.HasField("body")


@pytest.mark.parametrize("phase", [pb.PHASE_REQUEST, pb.PHASE_RESPONSE])
def test_an_immediate_response_in_either_phase(phase: int) -> None:
    action = encoded(ImmediateResponse(401, {"WWW-Authenticate": "Basic"}, "no", {"why": "x"}), phase)
    answer = pb.ImmediateResponse(status_code=401, headers=b"www-authenticate\0Basic\0", body=b"no")
    assert action == pb.Action(id=7, immediate_response=answer, analytics_metadata=b'{"why":"x"}')
    assert encoded(ImmediateResponse(204), phase).immediate_response == pb.ImmediateResponse(status_code=204)


def test_metadata_travels_when_it_changed() -> None:
    metadata = Metadata(b'{"a": 1, "b": 2}')
    assert encoded(None, metadata=metadata) == pb.Action(id=7)
    del metadata["a"]
    metadata["big"] = {"n": 2**70, "f": 1.0, "t": True, "z": None}
    action = encoded(REQUEST(), metadata=metadata)
    assert action.metadata_set == b'{"big":{"n":1180591620717411303424,"f":1.0,"t":true,"z":null}}'
    assert action.metadata_removed == ["a"]


@pytest.mark.parametrize(
    ("returned", "sentence"),
    [
        ("hello", "expected on_request to return UpstreamRequestModifications, .* or None, got str 'hello'"),
        (RESPONSE(), r"expected on_request to return .* got UpstreamResponseModifications\(set_headers=\{\}, .*"),
        (REQUEST, "expected on_request to return .* got type"),
        (
            REQUEST(set_headers={"X-A": "b\r\nc"}),
            r"set_headers\['X-A'\]: expected a value without control characters, but tabs, got str",
        ),
        (REQUEST(set_headers={"X-A": b"b\n"}), "without control characters, but tabs"),
        (
            REQUEST(append_headers={"X-A": ["ok", "b\0"]}),
            r"append_headers\['X-A'\]: .* without control characters, but tabs",
        ),
        (REQUEST(set_headers={"X-A\r\nX-B": "c"}), "set_headers: expected a header name"),
        (REQUEST(set_headers={"": "c"}), "set_headers: expected a header name"),
        (REQUEST(set_headers={":path": "/"}), "expected a header name .* fields of their own"),
        (REQUEST(remove_headers=[":authority"]), "remove_headers: expected a header name"),
        (
            REQUEST(set_headers={"Connection": "close"}),
            "that policies can change, got str 'Connection'; it belongs to one",
        ),
        (REQUEST(set_headers={"Content-Length": "5"}), "the gateway computes it from the body"),
        (REQUEST(set_headers={"Host": "a"}), "use authority"),
        (REQUEST(remove_headers=["Transfer-Encoding"]), "it belongs to one connection"),
        (REQUEST(set_headers={"X-A": 5}), r"set_headers\['X-A'\]: expected str, bytes or a list of them, got int 5"),  # type: ignore[dict-item]
        (REQUEST(set_headers={"X-A": [5]}), "expected str or bytes as value, got int 5"),  # type: ignore[list-item]
        (REQUEST(set_headers={"X-A": None}), "got None; to take a header away, name it in remove_headers"),  # type: ignore[dict-item]
        (REQUEST(set_headers={"X-A": []}), "name it in remove_headers"),
        (REQUEST(set_headers={"X-A": "\ud800"}), "expected text that UTF-8 can carry"),
        (REQUEST(set_headers=[("X-A", "b")]), "set_headers: expected a dict .* got list"),  # type: ignore[arg-type]
        (REQUEST(remove_headers="X-A"), "remove_headers: expected a list of header names, got str 'X-A'"),
        (REQUEST(body={"a": 1}), "body: expected bytes or str, got dict"),  # type: ignore[arg-type]
        (REQUEST(path="orders"), 'path: expected a path like "/a/b%20c"'),
        (REQUEST(path="/a?b=c"), "path: expected"),
        (REQUEST(path="/a b"), "path: expected"),
        (REQUEST(query="a=b#c"), "query: expected"),
        (REQUEST(query="a=b HTTP/1.1\r\n"), "query: expected"),
        (REQUEST(method="GET /"), "method: expected"),
        (REQUEST(authority="a/b"), "authority: expected"),
        (REQUEST(authority=""), "authority: expected"),
        (REQUEST(analytics_metadata={"a": {1}}), r"analytics_metadata\['a'\]: expected a JSON value .* got set"),  # type: ignore[dict-item]
        (REQUEST(analytics_metadata=[1]), "analytics_metadata: expected a dict"),  # type: ignore[arg-type]
        (ImmediateResponse(199), "status_code: expected an int from 200 to 599, got int 199"),
        (ImmediateResponse(600), "status_code: expected"),
        (ImmediateResponse(True), "status_code: expected"),
        (ImmediateResponse("401"), "status_code: expected .* got str '401'"),  # type: ignore[arg-type]
        (ImmediateResponse(401, {"X-A": "b\r\nc"}), r"headers\['X-A'\]: .* without control characters, but tabs"),
        (ImmediateResponse(401, body=None), "body: expected bytes or str, got None"),  # type: ignore[arg-type]
    ],
)
def test_anything_else_is_the_policys_fault(returned: object, sentence: str) -> None:
    with pytest.raises(PolicyError, match=sentence) as caught:
        encoded(returned)
    assert caught.value.failure_class is FailureClass.BAD_ACTION


def test_a_bad_status_and_a_request_action_in_the_response_phase() -> None:
    with pytest.raises(PolicyError, match="status_code: expected"):
        encoded(RESPONSE(status_code=100), pb.PHASE_RESPONSE)
    with pytest.raises(PolicyError, match="expected on_response to return UpstreamResponseModifications"):
        encoded(REQUEST(), pb.PHASE_RESPONSE)


def test_a_coroutine_from_a_sync_function_is_closed_and_named() -> None:
    async def answer() -> None:
        raise AssertionError("never runs")

    with pytest.raises(PolicyError, match="got a coroutine; write `async def`, or await it"):
        encoded(answer())


def test_a_body_that_no_frame_can_carry_is_the_policys_fault() -> None:
    with pytest.raises(PolicyError, match="expected at most") as caught:
        encoded(REQUEST(body=b"x" * (MAX_BODY_BYTES + 1)))
    assert caught.value.failure_class is FailureClass.BAD_ACTION


def test_a_failure_carries_any_text() -> None:
    failure = Failure(FailureClass.EXCEPTION, "bad \udcff text", "p:v1.0.0", "on_request")
    assert pb.Action.FromString(encode_failure(7, failure)) == pb.Action(
        id=7,
        failure=pb.Failure(
            failure_class=pb.FAILURE_CLASS_EXCEPTION, message="bad \\udcff text", policy="p:v1.0.0", hook="on_request"
        ),
    )


@pytest.mark.parametrize("failure_class", [*FailureClass])
def test_every_failure_class_has_its_number(failure_class: FailureClass) -> None:
    number = pb.Action.FromString(encode_failure(1, Failure(failure_class, ""))).failure.failure_class
    words = pb.FailureClass.Name(number).removeprefix("FAILURE_CLASS_").lower().split("_")
    assert words[0] + "".join(word.capitalize() for word in words[1:]) == failure_class


NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9-]{0,6}", fullmatch=True).map("X-".__add__)
CONTROLS = bytes([*range(9), *range(10, 32), 127])
VALUES = st.text().map(lambda text: text.translate(dict.fromkeys(CONTROLS))).filter(
    lambda text: not any("\ud800" <= char <= "\udfff" for char in text)
) | st.binary().map(lambda raw: raw.translate(None, CONTROLS))  # fmt: skip


@given(st.dictionaries(NAMES, VALUES | st.lists(VALUES, min_size=1, max_size=3), max_size=5))
def test_every_value_of_every_header_arrives_in_order(headers: dict[str, Any]) -> None:
    blob = encoded(REQUEST(set_headers=headers)).set_headers
    flat = blob.split(b"\0")[:-1]
    wanted = [
        (name.lower().encode(), value.encode() if isinstance(value, str) else value)
        for name, values in headers.items()
        for value in (values if isinstance(values, list) else [values])
    ]
    assert list(zip(flat[::2], flat[1::2], strict=True)) == wanted
