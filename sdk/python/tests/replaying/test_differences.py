"""A recorded exchange is run against a policy as the engine would run it: what differs, and what the policy sees."""

from __future__ import annotations

import pytest
from gatewright import testing

from .recordings import (
    QUIET,
    TAGGED,
    TAGGING,
    Write,
    change,
    exchange,
    execution,
    message,
)


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


def test_the_same_differs_in_nothing(write: Write) -> None:
    result = testing.replay(exchange(TAGGED, execution(1, "response")), write(TAGGING + QUIET))
    assert not result.differences
    assert (result.outcome, result.policy) == ("changed", "tag:v1.0.0")
    assert result.changes == [{"what": "header", "name": "x-tag", "after": ["gold"]}]
    assert [execution.phase for execution in result.executions] == ["request", "response"]
    assert result.warnings == []


def test_a_difference_says_what_was_and_what_would_be(write: Write) -> None:
    result = testing.replay(exchange(TAGGED), write(TAGGING + QUIET), params={"tag": "silver"})
    assert list(result.differences) == [change("header", "x-tag", before=["gold"], after=["silver"])]
    assert repr(result.differences) == (
        "id-1, tag:v1.0.0: 1 difference from what was recorded\n"
        '  request:\n    header x-tag\n      - ["gold"]\n      + ["silver"]'
    )


def test_a_change_that_is_no_longer_made_is_a_difference(write: Write) -> None:
    was = execution(1, "request", change("header", "x-a", before=["1", "3"], after=["9"]))
    result = testing.replay(exchange(was), write("def on_request(ctx, params): return None\n" + QUIET))
    assert list(result.differences) == [change("header", "x-a", before=["9"], after=["1", "3"])]


def test_a_phase_that_the_policy_no_longer_has_is_a_difference(write: Write) -> None:
    result = testing.replay(exchange(TAGGED), write(QUIET, "{responseHeaderMode: PROCESS}"))
    assert [difference["what"] for difference in result.differences] == ["outcome", "header"]
    assert result.differences[0] == change("outcome", before="passed", after="not run")


def test_a_phase_that_is_new_is_run(write: Write) -> None:
    source = TAGGING + "def on_response(ctx, params):\n    return UpstreamResponseModifications(status_code=201)\n"
    result = testing.replay(exchange(TAGGED), write(source))
    assert list(result.differences) == [change("status", before=200, after=201)]


def test_a_policy_that_was_not_in_the_chain_sees_what_client_and_upstream_sent(write: Write) -> None:
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
    assert {d["name"]: d["after"] for d in result.differences} == {"seen": "none", "x-seen": ["none"]}
    assert [execution.index for execution in result.executions] == [-1, -1]


def test_the_first_attempt_is_the_upstream(write: Write) -> None:
    source = (
        "def on_request(ctx, params):\n"
        "    return UpstreamRequestModifications(attempts=[Attempt('first'), Attempt('second')])\n"
    )
    was = execution(1, "request", change("upstream", before="main", after="first"))
    recorded = exchange(was)
    recorded["request"]["upstream"] = "main"
    assert not testing.replay(recorded, write(source + QUIET)).differences


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


def test_metadata_that_differs_reaches_the_response_phase(write: Write) -> None:
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
