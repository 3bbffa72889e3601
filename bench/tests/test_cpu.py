from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import cpu
from bench.cpu import TICKS, ProcessTime, Snapshot
from bench.error import BenchError

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\n"), max_size=15)


@given(name=NAMES, pid=st.integers(1, 2**22), ticks=st.tuples(*[st.integers(0, 10**9)] * 4))
def test_a_process_is_parsed_whatever_its_name(name: str, pid: int, ticks: tuple[int, int, int, int]) -> None:
    user, system, reaped_user, reaped_system = ticks
    middle = "7 7 0 -1 4194560 1 2 3 4"
    process = cpu.parse_process(f"{pid} ({name}) S 42 {middle} {user} {system} {reaped_user} {reaped_system} 20 0 1\n")
    expected = ProcessTime(pid, 42, (user + system) / TICKS, (reaped_user + reaped_system) / TICKS)
    assert process == expected


def test_the_machine_is_parsed_without_idle_time_and_interrupts() -> None:
    busy, stolen = cpu.parse_machine("cpu  100 20 3 5000 600 70 80 9 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n")
    assert (busy * TICKS, stolen * TICKS) == (123, 9)


def test_a_snapshot_skips_processes_that_end_meanwhile(tmp_path: Path) -> None:
    (tmp_path / "stat").write_text("cpu  100 0 0 0 0 0 0 0 0 0\n")
    for name in ("12", "13", "self"):
        (tmp_path / name).mkdir()
    (tmp_path / "12" / "stat").write_text("12 (a) S 1 7 7 0 -1 0 1 2 3 4 100 200 0 0 20\n")
    assert cpu.snapshot(tmp_path).processes == {12: ProcessTime(12, 1, 300 / TICKS)}


def test_a_snapshot_of_this_machine_shows_this_process() -> None:
    before = cpu.snapshot()
    while cpu.snapshot().processes[os.getpid()].own < before.processes[os.getpid()].own + 2 / TICKS:
        pass
    after = cpu.snapshot()
    assert cpu.own(before, after, os.getpid()) >= 1 / TICKS
    assert os.getpid() in after.descendants(os.getppid())


def snapshot(*processes: ProcessTime, machine: float = 0.0, stolen: float = 0.0) -> Snapshot:
    return Snapshot({process.pid: process for process in processes}, machine, stolen)


def test_descendants_are_children_at_any_depth() -> None:
    tree = snapshot(
        *(ProcessTime(pid, parent, 0.0) for pid, parent in [(2, 1), (3, 2), (4, 3), (5, 1), (6, 5), (1, 0)])
    )
    assert tree.descendants(2) == {2, 3, 4}


def test_foreign_time_excludes_our_processes_and_their_children() -> None:
    before = snapshot(ProcessTime(1, 0, 0.0), ProcessTime(2, 1, 0.0), ProcessTime(3, 2, 0.0))
    after = snapshot(ProcessTime(1, 0, 0.25), ProcessTime(2, 1, 5.0), ProcessTime(3, 2, 7.0), machine=12.25)
    assert cpu.foreign(before, after, root=2) == pytest.approx(0.25)


def test_a_foreign_process_that_ended_still_counts() -> None:
    before = snapshot(ProcessTime(1, 0, 1.0), ProcessTime(9, 1, 2.0))
    after = snapshot(ProcessTime(1, 0, 1.0, reaped=3.5))
    assert cpu.foreign(before, after, root=2) == pytest.approx(1.5)


def test_hidden_foreign_processes_show_in_the_machines_time() -> None:
    before, after = snapshot(ProcessTime(2, 1, 0.0)), snapshot(ProcessTime(2, 1, 3.0), machine=4.0, stolen=0.5)
    assert cpu.foreign(before, after, root=2) == pytest.approx(1.5)


def test_a_coarse_clock_of_the_machine_does_not_make_foreign_load_negative() -> None:
    before, after = snapshot(ProcessTime(2, 1, 0.0)), snapshot(ProcessTime(2, 1, 3.0), machine=2.9)
    assert cpu.foreign(before, after, root=2) == 0.0


def test_our_own_ended_children_are_not_foreign() -> None:
    before = snapshot(ProcessTime(2, 1, 1.0), ProcessTime(3, 2, 4.0), machine=10.0)
    after = snapshot(ProcessTime(2, 1, 1.0, reaped=6.0), machine=12.0)
    assert cpu.foreign(before, after, root=2) == 0.0


def test_a_process_that_did_not_run_all_the_time_is_an_error() -> None:
    with pytest.raises(BenchError, match="expected process 7 to run"):
        cpu.own(snapshot(), snapshot(ProcessTime(7, 1, 1.0)), 7)
