"""The arguments of a policy, and the effects of what it does, seen from the engine."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from gatewright_executor._gen import python_executor_pb2 as pb
from gatewright_executor.testing import Engine, configuration, request_execution, response_execution

Start = Callable[..., Engine]
ADD = """
    from gatewright.policy import UpstreamRequestModifications, UpstreamResponseModifications

    def on_request(ctx, params):
        return UpstreamRequestModifications(set_headers={"X-Policy": params.get("value", "on")})

    def on_response(ctx, params):
        return UpstreamResponseModifications(set_headers={"X-Status": str(ctx.status_code)})
"""


def test_bytes_of_headers_arrive_as_bytes_beside_other_requests(start_engine: Start) -> None:
    source = """
        from gatewright.policy import UpstreamRequestModifications
        def on_request(ctx, params):
            if "X-Bin" in ctx.headers:
                assert ctx.headers.raw == [(b"x-bin", b"\\xff\\xfe")]
                return UpstreamRequestModifications(set_headers={"X-Echo": ctx.headers["X-Bin"]})
    """
    engine = start_engine(echo=source)
    engine.configure(1, "echo:v1.0.0")
    engine.send(request_execution(1, headers=[("X-Bin", b"\xff\xfe")]), request_execution(2, headers={"x-good": "é"}))
    assert engine.action(1).set_headers == b"x-echo\0\xff\xfe\0"
    assert engine.action(2) == pb.Action(id=2)


@pytest.mark.parametrize(
    ("source", "failure_class", "sentence"),
    [
        ("def on_request(ctx, params): raise SystemExit(3)", "EXCEPTION", r"SystemExit: 3 \(.*/faulty\.py:1\)"),
        ("def on_request(ctx, params): return on_request(ctx, params)", "EXCEPTION", "RecursionError: maximum"),
        ("def on_request(ctx, params): return {}['k']", "EXCEPTION", r"KeyError: 'k' \(.*/faulty\.py:1\)"),
        ("def on_request(ctx, params): params['k'] = 1", "EXCEPTION", "TypeError: this dict is read-only"),
        ("def on_request(ctx, params): ctx.metadata['k'] = {1}", "EXCEPTION", "policy faulty:v1.0.0: metadata"),
        ("def on_request(ctx, params): return 'hello'", "BAD_ACTION", "got str 'hello'"),
        ("async def f(): pass\ndef on_request(ctx, params): return f()", "BAD_ACTION", "coroutine; write `async def`"),
        ("import sdk.policy as s\ndef on_request(ctx, params):\n return s.ImmediateResponse(401, {'X-A': 'b\\r\\nc'})",
         "BAD_ACTION", "without control characters, but tabs"),
        ("async def on_request(ctx, params): raise SystemExit(3)", "EXCEPTION", r"SystemExit: 3 \(.*/faulty\.py:1\)"),
        ("async def on_request(ctx, params): return 'hello'", "BAD_ACTION", "got str 'hello'"),
        ("import asyncio\nasync def on_request(ctx, params): raise asyncio.CancelledError", "EXCEPTION", "Cancelled"),
        ("async def on_request(ctx, params): raise StopIteration", "EXCEPTION", "StopIteration"),
    ],
)  # fmt: skip
def test_whatever_a_policy_does_ends_its_execution_only(
    start_engine: Start, source: str, failure_class: str, sentence: str
) -> None:
    engine = start_engine(workers=1, faulty=source, add=ADD)
    engine.configure(1, "faulty:v1.0.0")
    engine.configure(2, "add:v1.0.0")
    for number in (1, 2):
        failure = engine.execute(request_execution(number)).failure
        assert pb.FailureClass.Name(failure.failure_class) == f"FAILURE_CLASS_{failure_class}"
        assert_matches(sentence, failure.message)
        assert (failure.policy, failure.hook) == ("faulty:v1.0.0", "on_request")
    assert engine.execute(request_execution(9, 2)).set_headers == b"x-policy\0on\0"


def test_params_and_metadata_are_plain_values(start_engine: Start) -> None:
    source = """
        def on_request(ctx, params):
            ctx.metadata["params"] = params
            ctx.metadata["came"] = ctx.metadata["in"]
            ctx.metadata["types"] = [type(value).__name__ for value in params["list"]]
            del ctx.metadata["in"]
    """
    params = {"list": [1, 1.5, True, None, "x", [2], {"deep": None}], "big": 2**70}
    engine = start_engine(plain=source)
    engine.configure(1, "plain:v1.0.0", params)  # type: ignore[arg-type]
    execution = request_execution(1)
    execution.metadata = b'{"in":{"n":9007199254740993,"z":null,"f":1.0}}'
    action = engine.execute(execution)
    assert b'"came":{"n":9007199254740993,"z":null,"f":1.0}' in action.metadata_set
    assert b'"list":[1,1.5,true,null,"x",[2],{"deep":null}],"big":1180591620717411303424' in action.metadata_set
    assert b'["int","float","bool","NoneType","str","ReadOnlyList","ReadOnlyDict"]' in action.metadata_set
    assert action.metadata_removed == ["in"]


def test_nothing_is_left_of_another_request(start_engine: Start) -> None:
    source = """
        import contextvars
        seen = contextvars.ContextVar("seen", default=None)
        def on_request(ctx, params):
            assert seen.get() is None
            seen.set(ctx.request_id)
        async def on_response(ctx, params):
            on_request(ctx.request, params)
    """
    engine = start_engine(workers=1, tidy=source)
    engine.configure(1, "tidy:v1.0.0")
    for number in range(1, 6):
        assert engine.execute(request_execution(number)) == pb.Action(id=number)
        assert engine.execute(response_execution(number + 10)) == pb.Action(id=number + 10)


@pytest.mark.parametrize(("configure", "sentence"), [
    (configuration(1, "no:v1.0.0"), r"expected a policy of this build \(add:v1\.0\.0, bad:v1\.0\.0\), got no:v1\.0\.0"),
    (configuration(1, "bad:v1.0.0"), r"ModuleNotFoundError: No module named 'jwt_missing' \(.*/bad\.py:2\)"),
    (pb.ConfigureInstance(instance=1, policy_name="add", policy_version="v1.0.0", parameters=b"[1]"),
     "parameters: expected a JSON object"),
    (pb.ConfigureInstance(instance=1, policy_name="add", policy_version="v1.0.0", parameters=b"{"), "Expecting"),
])  # fmt: skip
def test_an_instance_that_cannot_be_made(start_engine: Start, configure: pb.ConfigureInstance, sentence: str) -> None:
    engine = start_engine(add=ADD, bad="\nimport jwt_missing\ndef on_request(ctx, params): pass")
    engine.send(request_execution(1), configure=[configure])
    status = engine.wait(lambda: engine.statuses.get(1))
    assert_matches(sentence, status.failure.message)
    assert engine.action(1).failure.failure_class == pb.FAILURE_CLASS_UNAVAILABLE  # it was not started
    assert_matches(sentence, engine.action(1).failure.message)


def assert_matches(pattern: str, text: str) -> None:
    assert re.search(pattern, text), text


def test_a_secret_is_no_text(start_engine: Start) -> None:
    """Secrets are found in parameters and in system parameters, at any depth, and are read-only."""
    source = """
        from sdk.policy import UpstreamRequestModifications as Changes
        from sdk.secrets import Secret
        def prepare(params, metadata):
            return [metadata.system_params["key"], params["list"][0]["key"], params["text"]]
        def on_request(ctx, params):
            assert all(isinstance(secret, Secret) for secret in ctx.prepared), ctx.prepared
            print(params, ctx.prepared)
            headers = {secret.name or "none": secret.reveal() for secret in ctx.prepared}
            return Changes(set_headers={**headers, "shown": str(ctx.prepared), "other": str(params["other"])})
    """
    engine = start_engine(sign=source)
    configure = configuration(1, "sign:v1.0.0", {
        "list": [{"key": {"secretRef": "in-list", "value": "planted-1"}}],
        "text": {"secretRef": "", "value": "planted-2"},
        "other": {"secretRef": "", "value": "", "more": 1},
    })  # fmt: skip
    configure.system_parameters = b'{"key": {"secretRef": "system", "value": "planted-3"}}'
    engine.send(configure=[configure])
    action = engine.execute(request_execution(1))
    parts = action.set_headers.split(b"\0")
    headers = dict(zip(parts[::2], parts[1::2], strict=False))
    assert headers == {
        b"system": b"planted-3", b"in-list": b"planted-1", b"none": b"planted-2",
        b"shown": b"[Secret(name='system'), Secret(name='in-list'), Secret(name='')]",
        b"other": b"{'secretRef': '', 'value': '', 'more': 1}",
    }  # fmt: skip


@pytest.mark.parametrize(
    "secret",
    ["kumquat-text", "two\nlines of kumquat 'text'", "kumquat " + 200 * "long\n", """é's "kumquat", in both quotes"""],
)
def test_a_policys_errors_contain_none_of_its_secrets(
    start_engine: Start, secret: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever fails: prepare, a hook, or an action with a value that no header may have."""
    source = """
        from sdk.policy import UpstreamRequestModifications as Changes
        def prepare(params):
            if params["fails"] == "prepare":
                raise ValueError(f"no such key: {params['key'].reveal()!r}") from KeyError(params["key"].reveal())
        def on_request(ctx, params):
            if params["fails"] == "action":
                return Changes(set_headers={"authorization": "Bearer \\n" + params["key"].reveal()})
            raise ValueError("no such key: " + params["key"].reveal())
    """
    engine = start_engine(says=source)
    for number, fails in enumerate(("prepare", "hook", "action"), 1):
        configure = configuration(number, "says:v1.0.0", {
            "fails": fails, "key": {"secretRef": "key", "value": secret},
        })  # fmt: skip
        engine.send(request_execution(number, number), configure=[configure])
        message = engine.action(number).failure.message
        assert "kumquat" not in message
        assert "[secret]" in message
        assert "kumquat" not in engine.statuses[number].failure.message
    lines = [f"{record.getMessage()} {record.__dict__}" for record in caplog.records if "failed" in record.getMessage()]
    assert len(lines) == 2, "what is no exception is the engine's to log"
    assert not any("kumquat" in line for line in lines)
    assert all("[secret]" in line for line in lines)


def test_what_is_returned_against_the_contract_names_the_hooks_line(start_engine: Start) -> None:
    engine = start_engine(faulty="\n\ndef on_request(ctx, params):\n    return {'x-a': 'b'}\n")
    engine.configure(1, "faulty:v1.0.0")
    failure = engine.execute(request_execution(1)).failure
    assert (Path(failure.file).name, failure.line) == ("faulty.py", 3)
    assert failure.message.endswith(f" (on_request is at {failure.file}:3)")


def test_a_refused_action_names_the_line_that_made_it(start_engine: Start) -> None:
    engine = start_engine(
        faulty="""
        from sdk.policy import ImmediateResponse, UpstreamRequestModifications

        def on_request(ctx, params):
            if ctx.headers.get("x-answer"):
                return ImmediateResponse(
                    999)
            action = UpstreamRequestModifications(set_headers={"x-a": 5})
            return action
        """
    )
    engine.configure(1, "faulty:v1.0.0")
    failure = engine.execute(request_execution(1)).failure
    assert (Path(failure.file).name, failure.line) == ("faulty.py", 8)
    assert failure.message.endswith(f" ({failure.file}:8)")
