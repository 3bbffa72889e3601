"""One operating system process: started, read, awaited, stopped. Linux: the kernel's pidfd says when it has ended."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from gatewright_cli.lines import LineSplitter
from gatewright_cli.specs import ProcessSpec

LAUNCHER = Path(__file__).with_name("launch.py")
PIPE_BYTES = 1024 * 1024
READ_BYTES = 256 * 1024
LAST_LINES = 20
MOST_LAST_READS = 64
OUR_VARIABLES = ("GATEWRIGHT_", "GITHUB_TOKEN", "UV_", "PIP_")
"""Prefixes of what the management API, the controller and builds are told: tokens, operators' parameters, indexes."""
PRIVATE_UMASK = 0o077


class NotStartedError(Exception):
    """The program could not even be executed. The message says which and why."""


class Child:
    """A running process in a group of its own. Needs a running event loop; everything here runs on it.

    `exited` gets the exit status as subprocess has it (negative: the signal) when the process has ended and its
    output has been read. `take` gets each line of its stdout and stderr.
    """

    def __init__(self, spec: ProcessSpec, take: Callable[[bytes], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._take = take
        self._splitter = LineSplitter()
        self.last_lines: deque[bytes] = deque(maxlen=LAST_LINES)
        self.lines_read = 0
        self.exited: asyncio.Future[int] = self._loop.create_future()
        self._output, write_end = _pipe()
        try:
            self._process = _start(spec, write_end)
        except BaseException:
            os.close(self._output)
            raise
        finally:
            os.close(write_end)
        self._started = time.monotonic()
        self._pidfd = os.pidfd_open(self._process.pid)
        self._loop.add_reader(self._output, self._read)
        self._loop.add_reader(self._pidfd, self._end)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def lived(self) -> float:
        """Seconds since its start."""
        return time.monotonic() - self._started

    def cpu_seconds(self) -> float:
        """User and system time that it has used (proc(5), /proc/PID/stat); 0.0 once it has ended."""
        try:
            stat = Path(f"/proc/{self.pid}/stat").read_text()
        except OSError:
            return 0.0
        user, system = stat.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    async def stop(self, seconds: float) -> None:
        """SIGTERM, and SIGKILL to the whole group if it has not ended after `seconds`."""
        if self.exited.done():
            return
        self._process.send_signal(signal.SIGTERM)
        await asyncio.wait({self.exited}, timeout=seconds)
        if not self.exited.done():
            self._take(f"did not end within {seconds:g} s of SIGTERM: killed".encode())
            self.kill()
        await asyncio.wait({self.exited})

    def kill(self) -> None:
        """SIGKILL to the whole group, now."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def _read(self) -> bool:
        """Whether there may be more."""
        try:
            piece = os.read(self._output, READ_BYTES)
        except BlockingIOError:
            return False
        if not piece:
            self._loop.remove_reader(self._output)
        self._pass_on(self._splitter.feed(piece))
        return bool(piece)

    def _pass_on(self, lines: list[bytes]) -> None:
        self.lines_read += len(lines)
        self.last_lines.extend(lines)
        for line in lines:
            self._take(line)

    def _end(self) -> None:
        """The process has ended: so does its group, and what it wrote is read to the last byte."""
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self.kill()
        status = self._process.wait()
        for _ in range(MOST_LAST_READS):  # bounded: someone who left the group may hold the pipe and go on writing
            if not self._read():
                break
        self._pass_on(self._splitter.end())
        self._loop.remove_reader(self._output)
        os.close(self._output)
        self.exited.set_result(status)


def describe_exit(status: int) -> str:
    """An exit status in words: "exited with code 2", "killed by SIGSEGV"."""
    if status >= 0:
        return f"exited with code {status}"
    try:
        return f"killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"killed by signal {-status}"


def _pipe() -> tuple[int, int]:
    read_end, write_end = os.pipe()
    os.set_blocking(read_end, False)
    with contextlib.suppress(OSError):  # over the user's limit: the usual 64 KiB do as well
        fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    return read_end, write_end


def inherited(spec: ProcessSpec) -> dict[str, str]:
    """Our environment without what is ours: policies run in some of the processes, and can read theirs."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(OUR_VARIABLES) or name.startswith(spec.keeps)
    }


def _start(spec: ProcessSpec, output: int) -> subprocess.Popen[bytes]:
    program = shutil.which(spec.command[0])
    if program is None:
        raise NotStartedError(f"{spec.command[0]} is not there, or is not executable")
    launcher = (sys.executable, "-I", "-S", str(LAUNCHER), str(os.getpid()), spec.scheduling)
    try:
        return subprocess.Popen(
            (*launcher, str(Path(program).absolute()), *spec.command[1:]),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=spec.cwd,
            env={**inherited(spec), **spec.environment},
            start_new_session=True,
            umask=PRIVATE_UMASK,
        )
    except OSError as error:
        raise NotStartedError(f"{spec.command[0]}: {error}") from error
