"""Answers and failures of a replayed policy, how it is prepared, and what is no recording."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
from gatewright import testing
from gatewright.kit.policy_call import PreparationError
from gatewright.kit.recording import RecordingError
from gatewright.testing import IncompleteRecordingError

from .recordings import (
    QUIET,
    TAGGED,
    TAGGING,
    Json,
    Write,
    body,
    change,
    exchange,
    execution,
)

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
