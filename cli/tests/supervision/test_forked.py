from __future__ import annotations

import gc
import os
from collections.abc import Generator
from contextlib import closing
from typing import Any

import pytest
from gatewright_cli.supervision.forked import Conversation, in_child


def test_what_it_returns_comes_from_another_process() -> None:
    here = os.getpid()
    assert in_child(lambda: f"{os.getppid()} {os.getpid() != here}") == f"{here} True"


def test_values_of_json_come_as_they_were() -> None:
    value = {"abi": 6, "filters": True, "lacks": ["é\n", None, 0.5]}
    assert in_child(lambda: value) == value


def test_a_child_finalizes_no_garbage_of_its_parent() -> None:
    """Such as a gRPC channel, whose threads are not in the child: to close it there waits for ever."""
    finalized = []

    class Garbage:
        def __del__(self) -> None:
            finalized.append(os.getpid())

    def collect() -> list[int]:
        gc.collect()
        return finalized

    gc.disable()  # else the parent may collect it by itself before the child is there
    try:
        garbage = Garbage()
        garbage.itself = garbage  # type: ignore[attr-defined]
        del garbage
        assert in_child(collect) == []
    finally:
        gc.enable()
    assert collect() == [os.getpid()]


def test_another_failure_ends_with_its_status(capfd: pytest.CaptureFixture[str]) -> None:
    def fault() -> str:
        raise KeyError("ours")

    def killed() -> str:
        os.kill(os.getpid(), 9)
        return ""

    with pytest.raises(SystemExit, match="70"):
        in_child(fault)
    assert "KeyError: 'ours'" in capfd.readouterr().err
    with pytest.raises(SystemExit, match="137"):
        in_child(killed)


def test_a_conversation_has_one_child_that_keeps_what_it_has_found() -> None:
    def counting() -> Generator[Any, str, None]:
        texts = [str(os.getpid())]
        while True:
            texts.append((yield texts))

    with closing(Conversation(counting)) as child:
        (pid,) = child.receive()
        assert int(pid) != os.getpid()
        for word in ("é", "two\nlines"):
            child.send(word)
        assert child.receive() == [pid, "é"]
        assert child.receive() == [pid, "é", "two\nlines"]
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid), 0)


def test_a_conversation_may_end_before_the_generator() -> None:
    def answering() -> Generator[Any, str, None]:
        yield "first"
        yield "x" * 1_000_000  # more than a pipe holds

    child = Conversation(answering)
    assert child.receive() == "first"
    child.send("go on")
    assert child.close() == 0
    assert child.close() == 0, "once more does nothing"


def test_a_conversation_that_fails_ends_with_its_status(capfd: pytest.CaptureFixture[str]) -> None:
    def failing() -> Generator[Any, str, None]:
        yield int((yield "a number, please"))

    with closing(Conversation(failing)) as child:
        assert child.receive() == "a number, please"
        child.send("none")
        with pytest.raises(SystemExit, match="70"):
            child.receive()
    assert "ValueError: invalid literal" in capfd.readouterr().err
