from __future__ import annotations

import os

import pytest
from gatewright_cli.run.preflight import PreflightError
from gatewright_cli.supervision.forked import in_child


def test_what_it_returns_comes_from_another_process() -> None:
    here = os.getpid()
    assert in_child(lambda: f"{os.getppid()} {os.getpid() != here}") == f"{here} True"


def test_mistakes_are_raised_here() -> None:
    def work() -> str:
        raise PreflightError(["one is wrong", "another, too"])

    with pytest.raises(PreflightError) as caught:
        in_child(work)
    assert caught.value.mistakes == ["one is wrong", "another, too"]


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
