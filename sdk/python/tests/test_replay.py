"""A recorded exchange is run against a policy as the engine would run it."""

from __future__ import annotations

import copy
import textwrap
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from gatewright import testing
from gatewright.policy_call import PreparationError
from gatewright.recording import RecordingError
from gatewright.testing import IncompleteRecordingError

Json = dict[str, Any]
BOTH = "{requestHeaderMode: PROCESS, responseHeaderMode: PROCESS}"
BODIES = "{requestBodyMode: BUFFER, responseBodyMode: BUFFER}"
STREAMS = "{requestBodyMode: STREAM, responseBodyMode: STREAM}"
Write = Callable[..., ModuleType]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a policy `tag` and loads it."""

    def write(source: str, mode: str = BOTH, version: str = "v1.0.0") -> ModuleType:
        (tmp_path / "policy.py").write_text("from sdk.policy import *\n" + textwrap.dedent(source))
        text = f"name: tag\nversion: {version}\nruntime: python\nprocessingMode: {mode}\n"
        (tmp_path / "policy-definition.yaml").write_text(text)
        return testing.load_policy(str(tmp_path / "policy.py"))

    return write


def message(**members: Any) -> Json:
    headers = members.pop("headers", [["x-a", "1"], ["x-b", "2"], ["x-a", "3"]])
    return {"headers": headers, **members}


def exchange(*executions: Json, **members: Any) -> Json:
    """A GET of /shop/x of which the policy `tag` is the second of three."""
    request = {"method": "GET", "scheme": "http", "authority": "shop.example", "path": "/shop/x", "query": "q=1"}
    asked = message(**{**request, **members.pop("request", {})})
    return {
        "version": 1, "id": "id-1", "api": "shop", "apiVersion": "v1.0", "context": "/shop", "operation": "GET /*",
        "policies": ["first:v1.0.0", "tag:v1.0.0", "last:v1.0.0"], "client": {"address": "127.0.0.1:4711"},
        "request": asked, "forwarded": {**asked, "atMs": 1}, "outcome": "completed", "answeredBy": "upstream",
        "upstreamResponse": message(status=200, headers=[["server", "s"]]),
        "response": message(status=200, headers=[["server", "s"]]), "executions": list(executions), "redacted": 0,
        **members,
    }  # fmt: skip


def execution(index: int, phase: str, *changes: Json, **members: Any) -> Json:
    name = ("first", "tag", "last")[index]
    outcome = "changed" if changes else "unchanged"
    started = {"request": 1, "request_stream": 2, "response": 10, "response_stream": 11}[phase]
    made = {"index": index, "policy": f"{name}:v1.0.0", "phase": phase, "startedMs": started + index * 0.1}
    return {**made, "durationMs": 0.01, "outcome": outcome, "changes": list(changes), **members}


def change(what: str, name: str = "", **sides: Any) -> Json:
    return {"what": what, **({"name": name} if name else {}), **sides}


def body(text: str, **members: Any) -> Json:
    return {"size": len(text.encode()), "text": text, **members}


TAGGED = execution(1, "request", change("header", "x-tag", after=["gold"]))
TAGGING = """def on_request(ctx, params):
    return UpstreamRequestModifications(set_headers={"x-tag": params.get("tag", "gold")})
"""
QUIET = "def on_response(ctx, params): return None\n"


def test_it_has_what_setup_made_and_the_parameters_of_its_path(write: Write) -> None:
    source = """
        closed = []
        async def setup(system_params):
            yield f"shared {system_params}"
            closed.append(1)
        def prepare(params, shared):
            return shared
        def on_request(ctx, params):
            seen = ctx.shared, ctx.prepared, ctx.path_params["id"]
            return UpstreamRequestModifications(set_headers={"x-tag": " ".join(seen)})
        def on_response(ctx, params):
            return None
    """
    recorded = exchange(TAGGED, operation="GET /{id}/*", request={"path": "/shop/a%20b/c"})
    policy = write(source)
    result = testing.replay(recorded, policy)
    assert result.changes == [change("header", "x-tag", after=["shared {} shared {} a b"])]
    assert policy.closed == [1]


def test_a_setup_that_fails_is_named(write: Write) -> None:
    policy = write("def setup(): raise ValueError('no model')\n" + TAGGING + QUIET)
    with pytest.raises(Exception, match=r"tag: setup: ValueError: no model \(.*policy\.py:2\)"):
        testing.replay(exchange(TAGGED), policy)


# ------------------------------------------------------------------ the same, and another


def test_the_same_differs_in_nothing(write: Write) -> None:
    result = testing.replay(exchange(TAGGED, execution(1, "response")), write(TAGGING + QUIET))
    assert not result.differences
    assert (result.outcome, result.policy) == ("changed", "tag:v1.0.0")
    assert result.changes == [{"what": "header", "name": "x-tag", "after": ["gold"]}]
    assert [one.phase for one in result.executions] == ["request", "response"]
    assert result.warnings == []


def test_a_difference_says_what_was_and_what_would_be(write: Write) -> None:
    result = testing.replay(exchange(TAGGED), write(TAGGING + QUIET), params={"tag": "silver"})
    assert list(result.differences) == [change("header", "x-tag", before=["gold"], after=["silver"])]
    assert repr(result.differences) == (
        "id-1, tag:v1.0.0: 1 difference from what was recorded\n"
        '  request:\n    header x-tag\n      - ["gold"]\n      + ["silver"]'
    )


def test_what_it_does_no_more_is_a_difference(write: Write) -> None:
    was = execution(1, "request", change("header", "x-a", before=["1", "3"], after=["9"]))
    result = testing.replay(exchange(was), write("def on_request(ctx, params): return None\n" + QUIET))
    assert list(result.differences) == [change("header", "x-a", before=["9"], after=["1", "3"])]


def test_a_phase_that_it_has_no_more_is_a_difference(write: Write) -> None:
    result = testing.replay(exchange(TAGGED), write(QUIET, "{responseHeaderMode: PROCESS}"))
    assert [one["what"] for one in result.differences] == ["outcome", "header"]
    assert result.differences[0] == change("outcome", before="passed", after="not run")


def test_a_phase_that_is_new_is_run(write: Write) -> None:
    source = TAGGING + "def on_response(ctx, params):\n    return UpstreamResponseModifications(status_code=201)\n"
    result = testing.replay(exchange(TAGGED), write(source))
    assert list(result.differences) == [change("status", before=200, after=201)]


def test_a_policy_that_the_chain_has_not_sees_what_client_and_upstream_sent(write: Write) -> None:
    source = """
        def on_request(ctx, params):
            ctx.metadata["seen"] = ctx.headers.get("x-first", "none")

        def on_response(ctx, params):
            return UpstreamResponseModifications(set_headers={"x-seen": ctx.headers.get("x-last", "none")})
    """
    recorded = exchange(
        execution(0, "request", change("header", "x-first", after=["1"])),
        execution(2, "response", change("header", "x-last", after=["1"])),
        policies=["first:v1.0.0", "other:v1.0.0", "last:v1.0.0"],
    )
    result = testing.replay(recorded, write(source))
    assert {each["name"]: each["after"] for each in result.differences} == {"seen": "none", "x-seen": ["none"]}
    assert [one.index for one in result.executions] == [-1, -1]


# ------------------------------------------------------------------ what it sees


def test_it_sees_the_exchange_as_it_was_when_its_turn_came(write: Write) -> None:
    source = """
        seen = {}

        def on_request(ctx, params):
            seen.update(raw=ctx.headers.multi_items(), method=ctx.method, path=ctx.path, query=ctx.query,
                        upstream=ctx.upstream, metadata=dict(ctx.metadata), client=ctx.client_address,
                        id=ctx.request_id,
                        operation=ctx.operation, api=(ctx.api_name, ctx.api_version), authority=ctx.authority)

        def on_response(ctx, params):
            seen.update(status=ctx.status_code, response=ctx.headers.multi_items(), later=dict(ctx.metadata),
                        asked=ctx.request.path, went=ctx.request.headers.get("x-went"))
    """
    policy = write(source)
    recorded = exchange(
        execution(
            0, "request", change("header", "x-b", before=["2"], after=["5"]),
            change("header", "x-c", after=["6"]), change("header", "x-a", before=["1", "3"], after=["1", "3", "7"]),
            change("method", before="GET", after="PUT"), change("path", before="/shop/x", after="/shop/y"),
            change("query", before="q=1"), change("upstream", after="canary"), change("metadata", "k", after=None),
        ),
        execution(0, "request", change("header", "x-shadow", after=["1"]), shadow=True),
        execution(1, "request"),
        execution(2, "request", change("metadata", "k", before=None), change("metadata", "l", after={"m": 2})),
        execution(2, "response", change("status", before=200, after=404), change("header", "x-d", after=["8"])),
        execution(1, "response"),
    )  # fmt: skip
    recorded["forwarded"] = message(method="PUT", path="/shop/z", headers=[["x-went", "up"]])
    assert not testing.replay(recorded, policy).differences
    assert policy.seen == {
        "raw": [("x-a", "1"), ("x-a", "3"), ("x-b", "5"), ("x-c", "6"), ("x-a", "7")],
        "method": "PUT", "path": "/shop/y", "query": "", "upstream": "canary", "metadata": {"k": None},
        "client": "127.0.0.1:4711", "id": "id-1", "operation": "GET /*", "api": ("shop", "v1.0"),
        "authority": "shop.example", "status": 404, "response": [("server", "s"), ("x-d", "8")],
        "later": {"l": {"m": 2}}, "asked": "/shop/z", "went": "up",
    }  # fmt: skip


def test_what_it_notes_otherwise_is_there_in_its_response_phase(write: Write) -> None:
    source = """
        def on_request(ctx, params):
            ctx.metadata["new"] = [1]
            return UpstreamRequestModifications(set_headers={"x-tag": "silver"})

        def on_response(ctx, params):
            value = f"{ctx.metadata['new']} {ctx.request.headers['x-tag']} {'old' in ctx.metadata}"
            return UpstreamResponseModifications(set_headers={"x-noted": value})
    """
    tagged = execution(1, "request", change("header", "x-tag", after=["gold"]), change("metadata", "old", after=1))
    recorded = exchange(tagged, execution(1, "response"))
    recorded["forwarded"]["headers"] = [*recorded["request"]["headers"], ["x-tag", "gold"]]
    result = testing.replay(recorded, write(source))
    assert result.executions[1].changes == [change("header", "x-noted", after=["[1] silver False"])]


def test_the_answer_of_a_failure_is_what_the_policies_before_see(write: Write) -> None:
    policy = write(
        "seen = []\ndef on_request(ctx, params): pass\ndef on_response(ctx, params): seen.append(ctx.status_code)\n"
    )
    failure = {"class": "exception", "message": "KeyError: 'x' (policy.py:7)"}
    recorded = exchange(
        execution(1, "request"),
        execution(2, "request", outcome="failed", failure=failure),
        execution(1, "response"),
        execution(0, "response", change("status", before=500, after=599)),
        response=message(status=599), answeredBy="failure",
    )  # fmt: skip
    del recorded["forwarded"], recorded["upstreamResponse"]
    assert not testing.replay(recorded, policy).differences
    assert policy.seen == [500]


# ------------------------------------------------------------------ bodies

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
        (None, "request.body: expected a body, which no policy wanted so that nobody saw it"),
    ],
)  # fmt: skip
def test_a_body_that_the_recording_has_not_whole_is_named(write: Write, recorded: Json | None, expected: str) -> None:
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
    with pytest.raises(IncompleteRecordingError, match=r"executions\[0\].stream: expected what first:v1"):
        testing.replay(recorded, write(UPPER, BODIES))


# ------------------------------------------------------------------ streams

SHORTEN = """
    async def on_request_stream(ctx, chunks, params):
        async for chunk in chunks:
            yield chunk.replace(b"-", params.get("by", "").encode())
        ctx.metadata["done"] = True
        ctx.trailers["x-sum"] = "1"

    async def on_response_stream(ctx, chunks, params):
        async for chunk in chunks:
            yield chunk
"""


def test_a_stream_is_run_and_compared_with_what_left(write: Write) -> None:
    changes = change("trailer", "x-sum", before=["0"], after=["1"]), change("metadata", "done", after=True)
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


# ------------------------------------------------------------------ answers and failures

DENY = "def on_request(ctx, params):\n    return ImmediateResponse(params['status'], {'X-Why': 'no'}, 'denied')\n"


def test_answers_are_compared(write: Write) -> None:
    answer = {"status": 403, "headers": [["x-why", "no"]], "body": body("denied")}
    recorded = exchange(
        execution(1, "request", change("answer", after=answer), outcome="answered"), answeredBy="policy"
    )
    del recorded["forwarded"], recorded["upstreamResponse"]
    policy = write(DENY + QUIET)
    assert not testing.replay(recorded, policy, params={"status": 403}).differences
    (found,) = testing.replay(recorded, policy, params={"status": 401}).differences
    assert (found["before"]["status"], found["after"]["status"]) == (403, 401)
    passing = testing.replay(recorded, write("def on_request(ctx, params): return None\n" + QUIET))
    assert [one["what"] for one in passing.differences] == ["outcome", "answer"]
    assert passing.differences[0] == change("outcome", before="answered", after="passed")
    assert "its response phase was not run" in passing.warnings[0]


def test_who_answers_has_no_response_phase(write: Write) -> None:
    recorded = exchange(execution(1, "request"), execution(1, "response"))
    result = testing.replay(recorded, write(DENY + QUIET), params={"status": 403})
    assert [(one.phase, one.outcome) for one in result.executions] == [("request", "answered"), ("response", "")]
    assert [one["what"] for one in result.differences] == ["outcome", "answer", "outcome"]
    assert result.differences[2] == change("outcome", before="passed", after="not run")


def test_a_policy_that_raises_says_where(write: Write, tmp_path: Path) -> None:
    policy = write("def on_request(ctx, params):\n    return {}['tier']\n" + QUIET)
    result = testing.replay(exchange(TAGGED), policy)
    assert result.failure is not None
    assert result.failure["class"] == "exception"
    assert result.failure["message"].startswith("KeyError: 'tier' (")
    assert Path(result.failure["file"]).resolve() == tmp_path / "policy.py"
    assert result.failure["line"] == 3
    assert [one["what"] for one in result.differences] == ["outcome", "failure", "header"]
    failed = {"class": "exception", "message": "tag:v1.0.0 on_request: KeyError: 'tier' (policies/tag/policy.py:9)"}
    was = execution(1, "request", outcome="failed", failure=failed)
    assert not testing.replay(exchange(was), policy).differences
    failed["message"] = "tag:v1.0.0 on_request: KeyError: 'other' (policies/tag/policy.py:9)"
    assert [one["what"] for one in testing.replay(exchange(was), policy).differences] == ["failure"]


@pytest.mark.parametrize("action", ["'text'", "UpstreamRequestModifications(path='/elsewhere')",
                                    "UpstreamRequestModifications(set_headers={'host': 'x'})"])  # fmt: skip
def test_what_a_gateway_would_refuse_is_a_bad_action(write: Write, action: str) -> None:
    result = testing.replay(
        exchange(execution(1, "request")), write(f"def on_request(ctx, params): return {action}\n" + QUIET)
    )
    assert result.failure is not None
    assert result.failure["class"] == "badAction"


@pytest.mark.parametrize("raised", ["SystemExit(3)", "asyncio.CancelledError()", "GeneratorExit()"])
@pytest.mark.parametrize("kind", ["", "async "])
def test_whatever_is_raised_is_an_exception_of_the_policy(write: Write, raised: str, kind: str) -> None:
    source = f"import asyncio\n{kind}def on_request(ctx, params):\n    raise {raised}\n" + QUIET
    failure = testing.replay(exchange(execution(1, "request")), write(source)).failure
    assert failure is not None
    assert (failure["class"], failure["line"]) == ("exception", 4)


@pytest.mark.parametrize(
    ("executions", "why"),
    [
        ([execution(1, "request", outcome="failed", failure={"class": "overloaded", "message": "no slot"})],
         "the policy was not run: overloaded"),
        ([execution(1, "request", outcome="cancelled")], "the exchange ended before the execution did"),
        ([execution(0, "request", change("answer", after={"status": 401, "headers": []}), outcome="answered")],
         "the exchange ended before its turn"),
    ],
)  # fmt: skip
def test_an_exchange_without_a_turn_to_compare_is_refused(write: Write, executions: list[Json], why: str) -> None:
    """Or a test that says that nothing differs could not fail."""
    with pytest.raises(IncompleteRecordingError, match=f"executions: expected a turn of tag:v1.0.0; .*: {why}"):
        testing.replay(exchange(*executions), write(TAGGING, "{requestHeaderMode: PROCESS}"))


def test_turns_that_did_not_run_are_no_differences(write: Write) -> None:
    late = execution(1, "response", outcome="cancelled")
    result = testing.replay(exchange(TAGGED, late), write(TAGGING + QUIET))
    assert not result.differences
    assert [bool(one.skipped) for one in result.executions] == [False, True]


# ------------------------------------------------------------------ async, prepare


@pytest.mark.parametrize("prepare", ["def prepare(params):", "async def prepare(params):"])
def test_async_and_prepared_policies(write: Write, prepare: str) -> None:
    source = f"""
        import asyncio
        ended = []

        {prepare}
            yield "gold"
            ended.append(1)

        async def on_request(ctx, params):
            await asyncio.sleep(0)
            return UpstreamRequestModifications(set_headers={{"x-tag": ctx.prepared}})

        def on_response(ctx, params):
            asyncio.run(asyncio.sleep(0))
    """
    policy = write(source)
    assert not testing.replay(exchange(TAGGED, execution(1, "response")), policy).differences
    assert policy.ended == [1]


def test_an_async_close_beside_a_plain_prepare(write: Write) -> None:
    closing = "ended = []\ndef prepare(params): return 1\nasync def close(prepared): ended.append(prepared)\n"
    policy = write(closing + TAGGING, "{requestHeaderMode: PROCESS}")
    assert not testing.replay(exchange(TAGGED), policy).differences
    assert policy.ended == [1]


async def _in_a_loop(policy: ModuleType) -> testing.Replay:
    return testing.replay(exchange(TAGGED), policy)


def test_it_can_be_called_in_a_running_loop(write: Write) -> None:
    import asyncio

    policy = write("async " + TAGGING, "{requestHeaderMode: PROCESS}")
    assert not asyncio.run(_in_a_loop(policy)).differences


def test_a_prepare_that_raises_says_where(write: Write) -> None:
    with pytest.raises(PreparationError, match=r"tag: prepare: ZeroDivisionError: .*policy.py:2\)"):
        testing.replay(exchange(TAGGED), write("def prepare(params): 1 / 0\n" + TAGGING))


def test_a_policy_of_the_deprecated_form(write: Write) -> None:
    source = """
        class Tag(Policy):
            def on_request(self, ctx, params):
                return UpstreamRequestModifications(set_headers={"x-tag": "gold"})

        def get_policy(metadata, params):
            return Tag(metadata, params)
    """
    assert not testing.replay(exchange(TAGGED), write(source)).differences


# ------------------------------------------------------------------ values that were taken out


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
    assert [one.partition(": ")[2].partition(":")[0] for one in result.warnings] == [
        "headers authorization", "query", "metadata password",
    ]  # fmt: skip
    assert [one["name"] for one in result.differences] == ["x-tag"]
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


# ------------------------------------------------------------------ files


def test_the_file_and_the_policy_beside_the_test(tmp_path: Path, write: Write) -> None:
    import json

    write(TAGGING + QUIET)
    (tmp_path / "login.exchange.json").write_text(json.dumps(exchange(TAGGED)))
    (tmp_path / "test_tag.py").write_text("from sdk import testing\nresult = testing.replay('login.exchange.json')\n")
    names: Json = {"__file__": str(tmp_path / "test_tag.py"), "__name__": "test_tag"}
    exec((tmp_path / "test_tag.py").read_text(), names)  # noqa: S102
    assert not names["result"].differences
    assert names["result"].name == str(tmp_path / "login.exchange.json")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{", "expected a recorded exchange as JSON"),
        ("[]", "expected a recorded exchange, a JSON object with `version`"),
        ('{"version": 2}', "expected a recording of version 1, got 2"),
        ('{"version": 1}', "request: expected a message, got none"),
    ],
)
def test_what_is_no_recording(tmp_path: Path, write: Write, text: str, expected: str) -> None:
    (tmp_path / "bad.json").write_text(text)
    with pytest.raises(RecordingError, match=expected):
        testing.replay(tmp_path / "bad.json", write(TAGGING))
