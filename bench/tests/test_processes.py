from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from bench import processes
from bench.error import BenchError


def test_a_process_has_ended_after_its_block(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import os, signal; print(os.environ['X'], flush=True); signal.pause()"]
    with processes.running(command, tmp_path / "log", {"X": "here"}) as process:
        assert process.stdout
        assert process.stdout.readline() == "here\n"
        assert process.poll() is None
    assert process.returncode is not None


def test_a_scheduling_policy_applies_only_to_the_process(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import os; print(os.sched_getscheduler(0))"]
    with processes.running(command, tmp_path / "log", scheduling=os.SCHED_BATCH) as process:
        assert process.stdout
        assert process.stdout.readline() == f"{os.SCHED_BATCH}\n"
        assert os.sched_getscheduler(0) == os.SCHED_OTHER


def test_a_server_that_never_answers_is_an_error_with_its_last_lines(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with processes.running([sys.executable, "-c", "import sys; sys.exit('no such port')"], log) as process:
        process.wait(60)
        with pytest.raises(BenchError, match=r"(?s)expected 200 from .*refused.*│ no such port"):
            processes.await_answer(processes.free_port(), "/plain", process, log)


def test_a_missing_program_has_a_cure() -> None:
    with pytest.raises(BenchError, match="expected the program no-such-program on PATH, got none: install it"):
        processes.program("no-such-program", "install it")
