from __future__ import annotations

import os

import pytest
from gatewright_cli.supervision.forked import in_child


def test_what_it_returns_comes_from_another_process() -> None:
    here = os.getpid()
    assert in_child(lambda: f"{os.getppid()} {os.getpid() != here}") == f"{here} True"


def test_values_of_json_come_as_they_were() -> None:
    value = {"abi": 6, "filters": True, "lacks": ["é\n", None, 0.5]}
    assert in_child(lambda: value) == value


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
