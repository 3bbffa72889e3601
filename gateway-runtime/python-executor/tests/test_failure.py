"""The log of a policy's exception: the error and the policy's lines, and none of the executor's."""

import contextlib
import errno
import functools
import os
import sqlite3
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from gatewright.action import ActionError
from gatewright.policy import FailureClass, ImmediateResponse, Trailers, UpstreamRequestModifications
from gatewright_executor.policies import source_paths
from gatewright_executor.policies.failure import (
    PolicyError,
    Where,
    classify,
    coroutine_stack,
    definition,
    describe,
    policy_stack,
    policy_traceback,
)

SOURCE = """
import inspect, json

def raises():
    return helper({})

def helper(value):
    return value["missing"]

def in_a_library():
    return json.loads("{")

def group():
    raise ExceptionGroup("two", [KeyError("first"), ValueError("second")])

def frame():
    return inspect.currentframe()

async def outer():
    await inner()

async def inner():
    import asyncio
    await asyncio.sleep(9)
"""
FILE = "sample-policies/one/policy.py"


@pytest.fixture
def policy(tmp_path: Path) -> Iterator[ModuleType]:
    """A copy of a policy, as a build makes it, and the path that its author knows."""
    file = tmp_path / "policies" / "one_v1_0_0" / "policy.py"
    file.parent.mkdir(parents=True)
    file.write_text(SOURCE)
    module = ModuleType("policy")
    exec(compile(SOURCE, str(file), "exec"), module.__dict__)  # noqa: S102
    source_paths.learn({"one_v1_0_0": "sample-policies/one"})
    yield module
    source_paths.learn({})


def raised(function: Callable[[], object]) -> BaseException:
    try:
        function()
    except BaseException as error:
        return error
    raise AssertionError("expected it to raise")


def test_an_error_is_named_with_the_authors_line(policy: ModuleType) -> None:
    error = raised(policy.raises)
    assert describe(error) == f"KeyError: 'missing' ({FILE}:8)"
    assert classify(error) is FailureClass.EXCEPTION


def test_an_error_in_a_library_is_named_with_the_line_that_called_it(policy: ModuleType) -> None:
    assert describe(raised(policy.in_a_library)).endswith(f"({FILE}:11)")


def test_of_a_group_the_first_one_is_named_too(policy: ModuleType) -> None:
    assert describe(raised(policy.group)) == "ExceptionGroup: two (2 sub-exceptions): KeyError: 'first'"


def test_a_file_that_cannot_be_parsed_is_named_with_its_line() -> None:
    error = raised(lambda: compile("def on_request(:", "policy.py", "exec"))
    assert describe(error) == "SyntaxError: invalid syntax (policy.py:1)"


def test_an_error_of_the_contract_names_what_was_expected() -> None:
    error = PolicyError("expected a, got b", FailureClass.BAD_BODY)
    assert (describe(error), classify(error)) == ("expected a, got b", FailureClass.BAD_BODY)
    assert classify(PolicyError("…")) is FailureClass.BAD_ACTION
    with pytest.raises(ActionError) as refused:
        Trailers()["host"] = "a"
    assert classify(refused.value) is FailureClass.BAD_ACTION
    assert classify(SystemExit()) is FailureClass.EXCEPTION


def raised_in_host(function: Callable[[], object]) -> BaseException:
    """As the executor catches it: the first frames are those of contextlib, by which it calls policies too."""

    def call() -> None:
        with contextlib.ExitStack() as stack:
            stack.callback(function)

    error = raised(call)
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    return error.with_traceback(trace)


def test_a_traceback_begins_with_the_authors_files(policy: ModuleType) -> None:
    text = policy_traceback(raised_in_host(policy.raises))
    assert f'File "{FILE}", line 5, in raises' in text
    assert f'File "{FILE}", line 8, in helper' in text
    assert "contextlib" not in text
    assert text.endswith("KeyError: 'missing'")


def test_where_a_thread_is(policy: ModuleType) -> None:
    found = policy_stack(policy.frame())
    assert found.place == f"{FILE}:17"
    assert found.stack.startswith("Stack (most recent call last):\n")
    assert policy_stack(None) == Where()


def test_where_a_coroutine_waits(policy: ModuleType) -> None:
    coroutine = policy.outer()
    with pytest.raises(RuntimeError, match="no running event loop"):
        coroutine.send(None)
    assert coroutine_stack(coroutine) == Where(), "it has ended"
    coroutine = policy.outer()
    found = coroutine_stack(coroutine)
    assert found.place == f"{FILE}:19", "it has not begun"
    coroutine.close()


def test_the_executors_own_frames_are_its_whole_package() -> None:
    import gatewright_executor
    from gatewright_executor.policies import failure

    root = str(Path(gatewright_executor.__file__).parent)
    assert failure._HOST[0] == root
    assert traceback.extract_stack()[-1].filename == __file__


def test_the_line_of_a_function_is_that_of_its_definition(policy: ModuleType) -> None:
    wrapped = functools.wraps(policy.helper)(lambda value: policy.helper(value))
    assert definition(policy.helper) == definition(wrapped) == (FILE, 7)
    assert definition(len) == definition(describe) == ("", 0)


def _raised(call: Callable[[], object]) -> str:
    with pytest.raises((TypeError, sqlite3.Error)) as caught:
        call()
    return describe(caught.value)


def test_pythons_error_for_a_field_of_an_action_gets_a_cure() -> None:
    headers: dict[str, object] = {"headers": {"x-a": "b"}}
    assert _raised(lambda: UpstreamRequestModifications(**headers)).endswith("; write set_headers=…")  # type: ignore[arg-type]
    status: dict[str, object] = {"status": 200}
    assert _raised(lambda: ImmediateResponse(**status)).endswith("; write status_code=…")  # type: ignore[arg-type]
    odd: dict[str, object] = {"zzz": 1}
    assert "; it has set_headers, remove_headers, " in _raised(lambda: UpstreamRequestModifications(**odd))  # type: ignore[arg-type]


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM])
def test_isolation_is_named_if_the_permissions_of_the_file_allow_access(number: int, tmp_path: Path) -> None:
    def refused(path: Path | None) -> str:
        error = (
            OSError(number, os.strerror(number)) if path is None else OSError(number, os.strerror(number), str(path))
        )
        return describe(error)

    file = tmp_path / "there"
    file.touch()
    cure = f"; the policy's process may not: name {file} under files: {{read: […]}} of its policy-definition.yaml"
    assert refused(file).endswith(cure)
    new = tmp_path / "new"
    assert f"name {new} under files: {{write: […]}}" in refused(new)
    assert "files" not in refused(tmp_path / "no folder" / "new")
    assert "name its address under network: of the policy" in refused(None)
    assert ";" not in describe(OSError(errno.ENOENT, "No such file", str(file)))


def test_a_database_that_cannot_be_opened_names_the_files_of_the_definition(tmp_path: Path) -> None:
    message = _raised(lambda: sqlite3.connect(tmp_path / "no folder" / "x.db"))
    assert "names: files: {read: [/PATH]}" in message
