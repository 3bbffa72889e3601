"""One operating system process: started, read, awaited, stopped. Linux's pidfd signals its end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path

from gatewright_documents.os_errors import os_reason

from gatewright_cli.supervision.handed_socket import DESCRIPTOR
from gatewright_cli.supervision.launch_plan import launch_command
from gatewright_cli.supervision.logs.output_pipe import OnLines, OutputPipe
from gatewright_cli.supervision.specs import ProcessSpec
from gatewright_cli.supervision.stack_page import DESCRIPTOR as STACKS
from gatewright_cli.supervision.stack_page import StackPage

LAST_LINES = 20
PRIVATE_UMASK = 0o077


class NotStartedError(Exception):
    """The program could not be executed. The message says which and why."""


class Child:
    """A running process in a group of its own. Needs a running event loop; everything here runs on it.

    `exited` gets the exit status as subprocess has it (negative: the signal) when the process has ended and its
    output has been read. on_lines: called with the lines of its stdout and stderr, in batches, except those that the
    spec does not pass on; if its stdout is an access log, those lines go to on_access_lines. on_exit: called when the
    process has ended and is not reaped yet, so that no other process has its pid. stack_page: where its threads write
    their stacks, until it has ended; None if it writes none. Raises NotStartedError.
    """

    def __init__(
        self,
        spec: ProcessSpec,
        on_lines: OnLines,
        on_access_lines: OnLines | None = None,
        on_exit: Callable[[], None] = lambda: None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_lines, self._on_exit, self._unshown = on_lines, on_exit, spec.unshown
        self.last_lines: deque[bytes] = deque(maxlen=LAST_LINES)
        self.lines_read = 0
        self.exited: asyncio.Future[int] = self._loop.create_future()
        self._pipes = [OutputPipe(self._keep_and_pass_on)]
        if spec.writes_access_log and on_access_lines is not None:
            self._pipes.append(OutputPipe(on_access_lines))
        self.stack_page = StackPage() if spec.writes_stacks else None
        try:
            self._process = _start(spec, self._pipes[-1].write_end, self._pipes[0].write_end, self.stack_page)
        except BaseException:
            for pipe in self._pipes:
                pipe.close()
            self._close_stack_page()
            raise
        finally:
            for pipe in self._pipes:
                os.close(pipe.write_end)
        self._started = time.monotonic()
        self._pidfd = os.pidfd_open(self._process.pid)
        self._loop.add_reader(self._pidfd, self._reap)

    @property
    def pid(self) -> int:
        """The process id, which is its group's too; another process may get it once `exited` is done."""
        return self._process.pid

    @property
    def uptime(self) -> float:
        """Seconds since its start."""
        return time.monotonic() - self._started

    def cpu_seconds(self) -> float:
        """User and system time used (proc(5), /proc/PID/stat); 0.0 once the process has ended."""
        try:
            stat = Path(f"/proc/{self.pid}/stat").read_text()
        except OSError:
            return 0.0
        user, system = stat.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    async def stop(self, seconds: float) -> None:
        """Sends SIGTERM, and SIGKILL to the whole group if the process has not ended after `seconds`."""
        if self.exited.done():
            return
        self._process.send_signal(signal.SIGTERM)
        await asyncio.wait({self.exited}, timeout=seconds)
        if not self.exited.done():
            self._on_lines([f"did not end within {seconds:g} s of SIGTERM: killed".encode()])
            self.kill()
        await asyncio.wait({self.exited})

    def kill(self) -> None:
        """Sends SIGKILL to the whole group."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def _keep_and_pass_on(self, lines: list[bytes]) -> None:
        self.lines_read += len(lines)
        if self._unshown:
            lines = [line for line in lines if not any(part in line for part in self._unshown)]
        self.last_lines.extend(lines)
        if lines:
            self._on_lines(lines)

    def _reap(self) -> None:
        """Handles the end of the process: kills its group, and reads its output to the last byte."""
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self.kill()
        self._on_exit()
        self._close_stack_page()
        status = self._process.wait()
        for pipe in self._pipes:
            pipe.read_to_end()
        self.exited.set_result(status)

    def _close_stack_page(self) -> None:
        if self.stack_page is not None:
            self.stack_page.close()
            self.stack_page = None


def describe_exit(status: int) -> str:
    """An exit status in words: "exited with code 2", "killed by SIGSEGV"."""
    if status >= 0:
        return f"exited with code {status}"
    try:
        return f"killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"killed by signal {-status}"


def environment(spec: ProcessSpec, own: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The variables that a process is started with: the supervisor's that it inherits, and its spec's."""
    return {name: value for name, value in own.items() if spec.inherits.has(name)} | dict(spec.environment)


def _start(spec: ProcessSpec, stdout: int, stderr: int, page: StackPage | None) -> subprocess.Popen[bytes]:
    program = shutil.which(spec.command[0])
    if program is None:
        raise NotStartedError(f"{spec.command[0]} is not there, or is not executable")
    command = (str(Path(program).absolute()), *spec.command[1:])
    try:
        handed = spec.handed.make() if spec.handed else None
    except OSError as error:
        raise NotStartedError(f"its socket cannot be made: {os_reason(error)}") from error
    descriptors = [(handed.fileno(), DESCRIPTOR)] if handed is not None else []
    descriptors += [(page.descriptor, STACKS)] if page is not None else []
    try:
        return subprocess.Popen(
            launch_command(command, spec.scheduling, descriptors, spec.sandbox),
            pass_fds=[source for source, _ in descriptors],
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            cwd=spec.cwd,
            env=environment(spec),
            start_new_session=True,
            umask=PRIVATE_UMASK,
        )
    except OSError as error:
        raise NotStartedError(f"{spec.command[0]}: {os_reason(error)}") from error
    finally:
        if handed is not None:
            handed.close()
