from __future__ import annotations

import gc
import os

import pytest
from gatewright_cli.supervision.forked import in_child


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

    garbage = Garbage()
    garbage.itself = garbage  # type: ignore[attr-defined]
    del garbage

    def collect() -> list[int]:
        gc.collect()
        return finalized

    assert in_child(collect) == []
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
