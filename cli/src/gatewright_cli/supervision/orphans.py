"""Kills and reaps orphans: processes started by processes of the node that have lost their parent.

A policy may start processes, which are descendants of its executor. When their parent ends, or the executor does, they
become children of the supervisor (prctl(2), PR_SET_CHILD_SUBREAPER), also with a session of their own. So each child
that the supervisor has not started itself is an orphan.
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
ATTEMPTS = 50  # in a row: a process that forks and ends all the time is gone before it is killed
MARK = "GATEWRIGHT_RUN"
"""The variable with the run directory, for processes that run policies, and so for processes that these start."""


class Orphans:
    """Kills and reaps orphans, once this process is their subreaper. say: called with the killed ones, name by pid."""

    def __init__(self, say: Callable[[dict[int, str]], None] = lambda _: None) -> None:
        self._report = say
        self._reported: set[int] = set()
        self._own: set[int] = set()
        self._starting = 0
        self._adopts = False

    def adopt(self) -> None:
        """Becomes the subreaper. Raises OSError if the kernel does not allow it. Present children stay alive."""
        prctl.adopt_orphans()
        self._own |= set(_children())
        self._adopts = True

    def on_pid(self, _name: str, pid: int | None) -> None:
        """Records a process of the node that has started; without a pid, kills the children of one that has ended."""
        if pid is not None:
            self._own.add(pid)
        elif self._adopts:
            asyncio.get_running_loop().call_soon(self.kill_all)

    @contextlib.contextmanager
    def starting(self) -> Iterator[Callable[[int], None]]:
        """Kills nothing while a process starts, since its pid is unknown. Call the yielded function with the pid."""
        self._starting += 1
        try:
            yield self._own.add
        finally:
            self._starting -= 1

    def kill_all(self) -> bool:
        """Kills and reaps all present orphans. Returns whether there were any; the killed ones may have left others."""
        if not self._adopts or self._starting:
            return False
        killed: dict[int, str] = {}
        for _ in range(ATTEMPTS):
            orphans = self._find()
            for pid in orphans:
                _kill_and_reap(pid, killed)
            if not orphans:
                break
        self._report_new(killed, orphans)
        return bool(killed or orphans)

    def _report_new(self, killed: dict[int, str], left: list[int]) -> None:
        """Reports each orphan once, although one that has not ended yet is killed again."""
        if news := {pid: name for pid, name in killed.items() if pid not in self._reported}:
            self._report(news)
        self._reported = (self._reported | killed.keys()) & set(left)

    def _find(self) -> list[int]:
        children = _children()
        self._own = {pid for pid in self._own if pid in children or _is_child(pid)}
        return [pid for pid in children if pid not in self._own]

    async def watch(self) -> None:
        """Kills orphans until it is cancelled. It polls, since no signal announces a new one."""
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
    """Kills a child, and reaps it. No other process can get its pid before."""
    with contextlib.suppress(ChildProcessError, ProcessLookupError):
        if os.waitpid(pid, os.WNOHANG) == (0, 0):
            killed[pid] = killed.get(pid) or _name(pid)
            os.kill(pid, signal.SIGKILL)


def _is_child(pid: int) -> bool:
    """Whether the pid is a child's that was not reaped yet."""
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _children() -> list[int]:
    """The children of all threads of this process (proc(5), /proc/PID/task/TID/children). One may be missing while
    another thread reaps one.
    """
    pids: list[int] = []
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):  # a thread that has ended
            pids += map(int, (task / "children").read_text().split())
    return pids


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def kill_left_by(run_dir: Path, named: Path) -> list[int]:
    """Kills processes that a killed run has left, and returns their pids. No run may be in `run_dir` now.

    They are found by the variable MARK, or by `named`, an executor's argument. A process without both stays.
    """
    ended = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal() and int(folder.name) != os.getpid() and _is_ours(folder, run_dir, named):
            with contextlib.suppress(OSError):
                _kill(folder, run_dir, named)
                ended.append(int(folder.name))
    return ended


def _kill(folder: Path, run_dir: Path, named: Path) -> None:
    """Kills the process, unless another one has got its pid."""
    pidfd = os.pidfd_open(int(folder.name))
    try:
        if _is_ours(folder, run_dir, named):
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    finally:
        os.close(pidfd)


def _is_ours(folder: Path, run_dir: Path, named: Path) -> bool:
    """Whether the process is of the run. A program shows its variables; a fork of an executor shows its arguments."""
    try:
        if os.fsencode(named) in (folder / "cmdline").read_bytes().split(b"\0"):
            return True
        return os.fsencode(f"{MARK}={run_dir}") in (folder / "environ").read_bytes().split(b"\0")
    except OSError:
        return False
