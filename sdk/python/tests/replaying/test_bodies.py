"""Bodies and streams of a recorded exchange, and values that were taken out of it."""

from __future__ import annotations

import copy

import pytest
from gatewright import testing
from gatewright.testing import IncompleteRecordingError

from .recordings import (
    BODIES,
    QUIET,
    STREAMS,
    Json,
    Write,
    body,
    change,
    exchange,
    execution,
    message,
)

UPPER = """
    def on_request(ctx, params):
        return UpstreamRequestModifications(body=ctx.body.upper()) if ctx.body else None

    def on_response(ctx, params): return None
"""


def test_bodies_are_given_and_compared(write: Write) -> None:
    recorded = exchange(
        execution(1, "request", change("body", before=body("abc"), after=body("ABC"))), request={"body": body("abc")}
    )
    policy = write(UPPER, BODIES)
    assert not testing.replay(recorded, policy).differences
    recorded["executions"][0]["changes"][0]["after"] = body("ABD")
    assert list(testing.replay(recorded, policy).differences) == [change("body", before=body("ABD"), after=body("ABC"))]


@pytest.mark.parametrize(
    ("recorded", "expected"),
    [
        ({"size": 9, "text": "abc", "truncated": True}, "request.body: expected all of it, got the first 3 of 9 bytes"),
        ({"size": 9, "truncated": True, "decoded": "br"}, "request.body: expected all of it, got nothing of 9 bytes"),
        (None, "request.body: expected a body, which was not recorded as no policy wanted it"),
    ],
)  # fmt: skip
def test_a_body_that_the_recording_has_cut_is_named(write: Write, recorded: Json | None, expected: str) -> None:
    request = {"headers": [["content-length", "9"]], **({"body": recorded} if recorded else {})}
    policy, whole = write(UPPER, BODIES), execution(1, "request", change("body", after=body("ABCABCABC")))
    with pytest.raises(IncompleteRecordingError, match=expected) as raised:
        testing.replay(exchange(whole, request=request), policy)
    assert "body=…" in str(raised.value)
    assert not testing.replay(exchange(whole, request=request), policy, body="abcabcabc").differences


def test_what_came_encoded_is_given_decoded_and_its_change_takes_the_coding_off(write: Write) -> None:
    policy = write("def on_request(ctx, params):\n    assert 'content-encoding' not in ctx.headers\n"
                   "    return UpstreamRequestModifications(body=ctx.body)\n" + QUIET, BODIES)  # fmt: skip
    headers = [["content-encoding", "gzip"], ["content-length", "23"]]
    changes = [
        change("header", "content-encoding", before=["gzip"]),
        change("body", before={"size": 23, "text": "abc", "decoded": "gzip"}, after=body("abc")),
    ]
    request = {"headers": headers, "body": {"size": 23, "text": "abc", "decoded": "gzip"}}
    result = testing.replay(exchange(execution(1, "request", *changes), request=request), policy)
    assert not result.differences
    assert result.changes == changes
    passing = write(UPPER, "{requestBodyMode: BUFFER, responseBodyMode: BUFFER, encodedBodies: PASS}")
    with pytest.raises(IncompleteRecordingError, match="expected it in gzip, got it decoded"):
        testing.replay(exchange(execution(1, "request"), request=request), passing)
    refusing = write(UPPER, "{requestBodyMode: BUFFER, responseBodyMode: BUFFER, encodedBodies: REFUSE}")
    result = testing.replay(exchange(execution(1, "request"), request=request), refusing)
    assert result.failure is not None
    assert result.failure["class"] == "badBody"


def test_a_body_behind_a_stream_is_what_left(write: Write) -> None:
    stream = execution(0, "request_stream", stream={"bytesIn": 3, "bytesOut": 2})
    stream["startedMs"] = 0.5
    turn = execution(1, "request", change("body", before=body("xy"), after=body("XY")))
    recorded = exchange(stream, turn, request={"body": body("abc")})
    assert not testing.replay(recorded, write(UPPER, BODIES)).differences
    turn["changes"], turn["outcome"] = [], "unchanged"
    recorded["forwarded"]["body"] = body("xy")
    assert testing.replay(recorded, write(UPPER, BODIES)).changes == [
        change("body", before=body("xy"), after=body("XY"))
    ]
    recorded["executions"].append(execution(2, "request_stream", stream={"bytesIn": 2, "bytesOut": 9}))
    with pytest.raises(IncompleteRecordingError, match=r"executions\[0\].stream: expected the body that first:v1"):
        testing.replay(recorded, write(UPPER, BODIES))


SHORTEN = """
    async def on_request_stream(ctx, chunks, params):
        async for chunk in chunks:
            yield chunk.replace(b"-", params.get("by", "").encode())
        ctx.metadata["done"] = True
        ctx.trailers["x-sum"] = "1"
        ctx.analytics["cost"] = 3

    async def on_response_stream(ctx, chunks, params):
        async for chunk in chunks:
            yield chunk
"""


def test_a_stream_is_run_and_compared_with_what_left(write: Write) -> None:
    changes = change("trailer", "x-sum", before=["0"], after=["1"]), change("metadata", "done", after=True), change(
        "analytics", "cost", after=3)  # fmt: skip
    recorded = exchange(
        execution(1, "request_stream", *changes, stream={"bytesIn": 5, "bytesOut": 3}),
        execution(1, "response_stream", stream={"bytesIn": 2, "bytesOut": 2}),
        request={"body": body("a-b-c"), "trailers": [["x-sum", "0"]]},
    )
    recorded["forwarded"]["body"] = body("abc")
    recorded["upstreamResponse"]["body"] = recorded["response"]["body"] = body("ok")
    policy = write(SHORTEN, STREAMS)
    assert not testing.replay(recorded, policy).differences
    (found,) = testing.replay(recorded, policy, params={"by": "+"}).differences
    assert found == change("body", before=body("abc"), after=body("a+b+c"))
    recorded["executions"].insert(1, execution(2, "request_stream", stream={"bytesIn": 3, "bytesOut": 3}))
    (found,) = testing.replay(recorded, policy, params={"by": "+"}).differences
    assert found == change("stream", before={"bytesOut": 3}, after={"bytesOut": 5})


def test_a_stream_that_rejects_answers(write: Write) -> None:
    source = """
        async def on_request_stream(ctx, chunks, params):
            async for chunk in chunks:
                raise Reject(ImmediateResponse(413, {"X-Why": "large"}, "no"))
            yield b""
    """
    answer = {"status": 413, "headers": [["x-why", "large"]], "body": body("no")}
    passed = {"bytesIn": 3, "bytesOut": 0}
    recorded = exchange(
        execution(1, "request_stream", change("answer", after=answer), outcome="answered", stream=passed),
        request={"body": body("abc")}, answeredBy="policy",
    )  # fmt: skip
    del recorded["upstreamResponse"]
    result = testing.replay(recorded, write(source, "{requestBodyMode: STREAM}"))
    assert not result.differences
    assert result.outcome == "answered"


def test_values_that_were_taken_out_are_supplied_or_named(write: Write) -> None:
    source = """
        def on_request(ctx, params):
            seen = ctx.headers["authorization"], ctx.query, ctx.metadata["password"]
            ok = seen == ("Bearer abc", "token=t", "p")
            return UpstreamRequestModifications(set_headers={"x-tag": "gold" if ok else "none", "cookie": "a=secret"})
    """
    policy = write(source, "{requestHeaderMode: PROCESS}")
    recorded = exchange(
        execution(0, "request", change("metadata", "password", after="[redacted]")),
        execution(
            1, "request", change("header", "x-tag", after=["gold"]), change("header", "cookie", after=["[redacted]"])
        ),
        request={"headers": [["authorization", "[redacted]"]], "query": "token=[redacted]"},
    )
    before = copy.deepcopy(recorded)
    result = testing.replay(recorded, policy)
    assert [warning.partition(": ")[2].partition(":")[0] for warning in result.warnings] == [
        "headers authorization", "query", "metadata password",
    ]  # fmt: skip
    assert [difference["name"] for difference in result.differences] == ["x-tag"]
    supplied: Json = {"headers": {"Authorization": "Bearer abc"}, "query": "token=t", "metadata": {"password": "p"}}
    result = testing.replay(recorded, policy, **supplied)
    assert not result.differences
    assert result.warnings == []
    assert recorded == before


def test_a_body_that_values_were_taken_out_of_is_compared_around_them(write: Write) -> None:
    changes = [change("body", before=body('{"a": 1, "pin": "[redacted]"}', size=23),
                      after=body('{"A": 1, "PIN": "[redacted]"}', size=23))]  # fmt: skip
    recorded = exchange(execution(1, "request", *changes), request={"body": changes[0]["before"]})
    policy = write(UPPER, BODIES)
    result = testing.replay(recorded, policy)
    assert len(result.warnings) == 1
    assert result.warnings[0].startswith("id-1: request.body: values were taken out of it")
    assert not testing.replay(recorded, policy, body='{"a": 1, "pin": 123456}').differences
    assert testing.replay(recorded, policy, body='{"b": 1, "pin": 123456}').differences


def test_values_of_the_response_are_supplied(write: Write) -> None:
    source = """
        def on_response(ctx, params):
            return UpstreamResponseModifications(set_headers={"x-seen": f"{ctx.headers['set-cookie']} {len(ctx.body)}"})
    """
    recorded = exchange(execution(1, "response", change("header", "x-seen", after=["a=1 9"])))
    recorded["upstreamResponse"] = message(
        status=200, headers=[["set-cookie", "[redacted]"]], body={"size": 9, "text": "abc", "truncated": True}
    )
    policy = write(source, "{responseBodyMode: BUFFER}")
    result = testing.replay(recorded, policy, response_headers={"set-cookie": "a=1"}, response_body=b"abcabcabc")
    assert not result.differences
    assert result.warnings == []
