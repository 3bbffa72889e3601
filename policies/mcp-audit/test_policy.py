import json
import logging
from typing import Any

import pytest
from sdk import testing
from sdk.policy import Identity, RequestContext

policy = testing.load_policy(__file__)
JSON, EVENTS = "application/json", "text/event-stream"
SECRETS = {"q": "x", "token": "t", "deep": [{"API-Key": "k", "Password_Hash": "h"}], "n": 1}


def call(tool: str = "search", number: Any = 1, arguments: Any = None) -> dict[str, Any]:
    params = {"name": tool} if arguments is None else {"name": tool, "arguments": arguments}
    return {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}


def result(number: Any = 1, **more: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "result": {"content": []}} | more


@pytest.fixture(autouse=True)
def _no_metrics() -> None:
    testing.reset_metrics(policy)
    policy.tally._known.clear()


def lines_of(
    caplog: pytest.LogCaptureFixture, document: Any, answer: Any, kind: str = JSON, status: int = 200, **more: Any
) -> list[dict[str, Any]]:
    """The lines of an exchange, whose answer has to pass unchanged."""
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    answered = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    stop_after = more.pop("stop_after", None)
    values = testing.params(policy, **more)
    caplog.clear()
    with caplog.at_level(logging.INFO), testing.prepared(policy, values) as made, testing.clock(1000.0) as clock:
        headers = {"content-type": JSON, "mcp-session-id": "s"}
        ctx: RequestContext = testing.request("POST", "/mcp", headers=headers, body=body, prepared=made)
        ctx.identity = Identity(subject="ann", issuer="id", consumer="acme")
        assert policy.on_request(ctx, values) is None
        clock.advance(2.5)
        response = testing.response(status, headers={"content-type": kind}, request=ctx)
        assert policy.on_response(response, values) is None
        if status != 204:
            chunks = testing.stream(answered, sizes=(7,) * 5)
            got = testing.run_stream(
                policy.on_response_stream, chunks, ctx=response, params=values, stop_after=stop_after
            )
            assert stop_after or got.body == answered
    return [json.loads(record.getMessage())["mcp"] for record in caplog.records]


def as_events(*documents: Any) -> bytes:
    return b"".join(b"event: message\ndata: %s\n\n" % json.dumps(document).encode() for document in documents)


def test_a_line_has_who_what_how_long_and_how_large(caplog: pytest.LogCaptureFixture) -> None:
    (line,) = lines_of(caplog, call(arguments=SECRETS), result())
    sizes = {"requestBytes": len(json.dumps(call(arguments=SECRETS))), "responseBytes": len(json.dumps(result()))}
    sender = {"api": "", "client": "127.0.0.1", "session": "s", "subject": "ann", "issuer": "id", "consumer": "acme"}
    outcome = {"id": 1, "tool": "search", "outcome": "ok", "status": 200, "seconds": 2.5}
    assert line | {"api": ""} == sender | outcome | sizes


@pytest.mark.parametrize(
    ("answer", "kind", "status", "outcome"),
    [
        (result(result={"isError": True}), JSON, 200, "tool_error"),
        ({"jsonrpc": "2.0", "id": 1, "error": {"code": -32602, "message": "m"}}, JSON, 200, "error"),
        ({"jsonrpc": "2.0", "id": 1, "error": {"code": -32602, "message": "m"}}, JSON, 400, "error"),
        (as_events({"jsonrpc": "2.0", "method": "notifications/progress"}, result()), EVENTS, 200, "ok"),
        (b"no session", "text/plain", 404, "refused"),
        (b"", JSON, 204, "no_answer"),
        (b"{", JSON, 200, "no_answer"),
        (result(2), JSON, 200, "no_answer"),
        (result([1]), JSON, 200, "no_answer"),
        (b'"' + b"a" * (2 << 20) + b'"', JSON, 200, "no_answer"),
        (b"[" * 5000, JSON, 200, "no_answer"),
    ],
)
def test_outcomes(caplog: pytest.LogCaptureFixture, answer: Any, kind: str, status: int, outcome: str) -> None:
    (line,) = lines_of(caplog, call(), answer, kind, status)
    assert (line["outcome"], line["status"]) == (outcome, status)
    assert line.get("code") == (-32602 if outcome == "error" else None)


def test_a_stream_that_is_left_is_aborted(caplog: pytest.LogCaptureFixture) -> None:
    for stop_after in (1, 2, 3):  # the first chunk is empty: it sends the headers
        (line,) = lines_of(caplog, call(), as_events(result()), EVENTS, stop_after=stop_after)
        assert line["outcome"] == "aborted"


def test_each_call_of_a_batch_has_its_line(caplog: pytest.LogCaptureFixture) -> None:
    answer = [result("b", result={"isError": True}), result("a")]
    lines = lines_of(caplog, [call("x", "a"), {"jsonrpc": "2.0", "id": 1, "method": "ping"}, call("y", "b")], answer)
    assert [(line["tool"], line["outcome"]) for line in lines] == [("x", "ok"), ("y", "tool_error")]


@pytest.mark.parametrize(
    "document",
    [b"", b"{", b"\xff", {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}, call("a\0b"), call(number=2**60)],
)
def test_other_bodies_have_no_line(caplog: pytest.LogCaptureFixture, document: Any) -> None:
    assert lines_of(caplog, document, result()) == []


@pytest.mark.parametrize(
    ("choice", "shown"),
    [
        ("none", None),
        ("names", ["q", "token", "deep", "n"]),
        (
            "values",
            {"q": "x", "token": "[redacted]", "n": 1}
            | {"deep": [{"API-Key": "[redacted]", "Password_Hash": "[redacted]"}]},
        ),
    ],
)
def test_arguments_are_there_by_choice_and_redacted(caplog: pytest.LogCaptureFixture, choice: str, shown: Any) -> None:
    (line,) = lines_of(caplog, call(arguments=SECRETS), result(), arguments=choice)
    assert line.get("arguments") == shown


def test_arguments_are_bounded(caplog: pytest.LogCaptureFixture) -> None:
    deep: Any = "end"
    for _ in range(100):
        deep = {"a": deep}
    arguments = {"long": "a" * 10_000, "deep": deep, "many": [*range(10_000)], "line\n\u2028": "\n"}
    (line,) = lines_of(caplog, call(arguments=arguments), result(), arguments="values")
    assert len(json.dumps(line)) < 2000
    assert "\n" not in caplog.records[0].getMessage()
    (line,) = lines_of(caplog, call(arguments="no object"), result(), arguments="values")
    assert "arguments" not in line


def test_metrics_have_tools_that_exist(caplog: pytest.LogCaptureFixture) -> None:
    lines_of(caplog, call("search"), result())
    lines_of(caplog, call("search"), result(result={"isError": True}))
    for number in range(5):
        lines_of(caplog, call(f"invented-{number}"), result(result={"isError": True}))
    calls = testing.metric(policy, "mcp_calls_total")
    assert calls.value(api="", tool="search", outcome="ok") == 1
    assert calls.value(api="", tool="search", outcome="tool_error") == 1
    assert calls.value(api="", tool="other", outcome="tool_error") == 5
    assert testing.metric(policy, "mcp_call_seconds").sum(api="", tool="other") == 12.5


def test_a_star_before_the_end_of_a_redacted_name_is_refused() -> None:
    """It would stand for itself, and lines would have the values that it is to hide."""
    testing.params(policy, redacted=["secret*", "*"])
    with pytest.raises(ValueError, match=r"params\.redacted\[1\]: expected .* at its end alone, got 'client_\*_key'"):
        testing.params(policy, redacted=["secret*", "client_*_key"])
