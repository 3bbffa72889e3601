"""CPU time by process, from /proc (proc_pid_stat(5), proc_stat(5)). All times are seconds since boot or start."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.error import BenchError

TICKS = os.sysconf("SC_CLK_TCK")
PROC = Path("/proc")


@dataclass(frozen=True)
class ProcessTime:
    """own: CPU time of all its threads, including ended ones. reaped: CPU time of its ended children."""

    pid: int
    parent: int
    own: float
    reaped: float = 0.0


@dataclass(frozen=True)
class Snapshot:
    """machine: the time that all cores were busy, without interrupts, which are no foreign load unless a kernel charges
    them to processes. stolen: the time that the hypervisor gave to other machines."""

    processes: Mapping[int, ProcessTime]
    machine: float = 0.0
    stolen: float = 0.0

    def descendants(self, root: int) -> set[int]:
        """`root` and all processes below it."""
        pids: set[int] = set()
        following = {root}
        while following:
            pids |= following
            following = {process.pid for process in self.processes.values() if process.parent in following} - pids
        return pids


def snapshot(proc: Path = PROC) -> Snapshot:
    """The CPU times as they are now."""
    processes = {process.pid: process for process in _processes(proc)}
    machine, stolen = parse_machine((proc / "stat").read_text())
    return Snapshot(processes, machine, stolen)


def _processes(proc: Path) -> Iterator[ProcessTime]:
    for entry in proc.iterdir():
        if entry.name.isdecimal():
            try:
                yield parse_process((entry / "stat").read_text())
            except OSError:  # the process has ended meanwhile
                continue


def parse_process(stat: str) -> ProcessTime:
    """A line of /proc/PID/stat. The name, in parentheses, may contain spaces and parentheses."""
    head, _, tail = stat.rpartition(")")
    fields = tail.split()
    user, system, reaped_user, reaped_system = (int(field) for field in fields[11:15])
    return ProcessTime(
        pid=int(head.split("(", 1)[0]),
        parent=int(fields[1]),
        own=(user + system) / TICKS,
        reaped=(reaped_user + reaped_system) / TICKS,
    )


def parse_machine(stat: str) -> tuple[float, float]:
    """The first line of /proc/stat as (run by processes, stolen)."""
    user, nice, system, _idle, _iowait, _irq, _softirq, steal = (int(ticks) for ticks in stat.split()[1:9])
    return (user + nice + system) / TICKS, steal / TICKS


def own(before: Snapshot, after: Snapshot, pid: int) -> float:
    """The CPU time of the process. Raises BenchError if it did not run all the time."""
    if pid not in before.processes or pid not in after.processes:
        raise BenchError(f"expected process {pid} to run during the whole sample, got none: see the logs of the run")
    return after.processes[pid].own - before.processes[pid].own


def foreign(before: Snapshot, after: Snapshot, root: int) -> float:
    """The CPU time of all processes but `root` and its descendants.

    Processes that this one cannot see, since it may run in a container, appear only in the machine's time. The kernel's
    clock is coarse, so the larger figure counts.
    """
    ours = before.descendants(root) | after.descendants(root)
    theirs = _sum(after, ours, inside=False) - _sum(before, ours, inside=False)
    unaccounted = after.machine - before.machine - (_sum(after, ours, inside=True) - _sum(before, ours, inside=True))
    return max(theirs, unaccounted, 0.0) + after.stolen - before.stolen


def _sum(at: Snapshot, pids: set[int], inside: bool) -> float:
    """The CPU time of processes, with that of their ended children, so that one that ends meanwhile still counts."""
    return sum(process.own + process.reaped for process in at.processes.values() if (process.pid in pids) == inside)
