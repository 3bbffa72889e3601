"""Orphans: processes that processes of the node have started and that have lost their parent are killed and reaped.

A policy may start processes, and they are its executor's: whatever they do, they are below it. What has lost its
parent, for that has ended or the executor has, becomes a child of the supervisor (prctl(2), PR_SET_CHILD_SUBREAPER), a
new session or not. So each child that the supervisor has not started itself belongs to nobody.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from gatewright_cli.supervision import prctl

LOOK_SECONDS = 1.0
AGAIN_SECONDS = 0.02
ATTEMPTS = 50  # one after the other, for what forks and ends all the time is gone before it is killed
MARK = "GATEWRIGHT_RUN"
"""The variable that names the run directory to processes in which policies run, and so to what these start."""


class Orphans:
    """Kills and reaps orphans, once this process is their subreaper. say: called with those killed, program by pid."""

    def __init__(self, say: Callable[[dict[int, str]], None] = lambda _: None) -> None:
        self._report = say
        self._reported: set[int] = set()
        self._own: set[int] = set()
        self._starting = 0
        self._adopts = False

    def adopt(self) -> None:
        """Becomes the subreaper. Raises OSError where the kernel does not allow it. Present children stay alive."""
        prctl.adopt_orphans()
        self._own |= set(_children())
        self._adopts = True

    def on_pid(self, _name: str, pid: int | None) -> None:
        """A process of the node has started; or, without a pid, is about to be reaped, and has left its children."""
        if pid is not None:
            self._own.add(pid)
        elif self._adopts:
            asyncio.get_running_loop().call_soon(self.kill_all)

    @contextlib.contextmanager
    def starting(self) -> Iterator[Callable[[int], None]]:
        """While a process starts, whose pid is not known yet, nothing is killed. Give the pid to what this yields."""
        self._starting += 1
        try:
            yield self._own.add
        finally:
            self._starting -= 1

    def kill_all(self) -> bool:
        """Kills and reaps all orphans that there are now. Whether there were any; those killed may have left others."""
        if not self._adopts or self._starting:
            return False
        killed: dict[int, str] = {}
        for _ in range(ATTEMPTS):
            found = self._found()
            for pid in found:
                _kill_and_reap(pid, killed)
            if not found:
                break
        self._report_new(killed, found)
        return bool(killed or found)

    def _report_new(self, killed: dict[int, str], left: list[int]) -> None:
        """Reports each orphan once; one that has not ended yet is killed again."""
        if news := {pid: name for pid, name in killed.items() if pid not in self._reported}:
            self._report(news)
        self._reported = (self._reported | killed.keys()) & set(left)

    def _found(self) -> list[int]:
        children = _children()
        self._own = {pid for pid in self._own if pid in children or _is_child(pid)}
        return [pid for pid in children if pid not in self._own]

    async def watch(self) -> None:
        """Kills orphans until it is cancelled. It polls, for no signal tells of a new one."""
        while True:
            await asyncio.sleep(AGAIN_SECONDS if self.kill_all() else LOOK_SECONDS)

    async def wait_until_gone(self, seconds: float) -> bool:
        """Whether all have ended, within `seconds`."""
        end = time.monotonic() + seconds
        while self.kill_all():
            if time.monotonic() > end:
                return False
            await asyncio.sleep(AGAIN_SECONDS)
        return True


def _kill_and_reap(pid: int, killed: dict[int, str]) -> None:
    """A child's pid is nobody else's until it is reaped here."""
    with contextlib.suppress(ChildProcessError, ProcessLookupError):
        if os.waitpid(pid, os.WNOHANG) == (0, 0):
            killed[pid] = killed.get(pid) or _name(pid)
            os.kill(pid, signal.SIGKILL)


def _is_child(pid: int) -> bool:
    """Whether it is one that nobody has reaped yet."""
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _children() -> list[int]:
    """Of all threads of this process (proc(5), /proc/PID/task/TID/children). One may be missing where another thread
    reaps one at the same time.
    """
    found: list[int] = []
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):  # a thread that has ended
            found += map(int, (task / "children").read_text().split())
    return found


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def kill_left_by(run_dir: Path, named: Path) -> list[int]:
    """Kills what processes of a run that was itself killed have left; their pids. Nobody may run in `run_dir` now.

    Found by the variable MARK, or by `named`, an executor's argument. What has got rid of both stays.
    """
    ended = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal() and int(folder.name) != os.getpid() and _is_ours(folder, run_dir, named):
            with contextlib.suppress(OSError):
                _kill(folder, run_dir, named)
                ended.append(int(folder.name))
    return ended


def _kill(folder: Path, run_dir: Path, named: Path) -> None:
    """The one that was found, not one that got its pid since."""
    pidfd = os.pidfd_open(int(folder.name))
    try:
        if _is_ours(folder, run_dir, named):
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    finally:
        os.close(pidfd)


def _is_ours(folder: Path, run_dir: Path, named: Path) -> bool:
    """What has executed a program shows its variables; a fork of an executor does not, and has its arguments."""
    try:
        if os.fsencode(named) in (folder / "cmdline").read_bytes().split(b"\0"):
            return True
        return os.fsencode(f"{MARK}={run_dir}") in (folder / "environ").read_bytes().split(b"\0")
    except OSError:
        return False
