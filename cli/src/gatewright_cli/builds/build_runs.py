"""Builds for a running node, in another process, so that the node's own does not load the builder."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from gatewright_cli.supervision.launch_plan import launch_command
from gatewright_cli.supervision.orphans import Orphans

BUILD, STOP = b"b", b"s"
LONGEST_LINE = 16 * 1024 * 1024
LAST_LINES = 5
STOP_SECONDS = 5.0


class BuildRefusedError(Exception):
    """The build failed: `reasons` has a sentence for each mistake."""

    def __init__(self, reasons: list[str]) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = reasons


class _Event(msgspec.Struct):
    """A line of `gatewright build --json`, as far as it is passed on, or the line that ends a build."""

    event: str
    text: str = ""
    what: str = ""
    seconds: float | dict[str, float] = 0.0
    received: int = 0
    done: bool = False
    status: int = 0


@dataclass
class _BuildLog:
    """Mistakes, notes and other lines of a build."""

    mistakes: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    other: deque[str] = field(default_factory=lambda: deque(maxlen=LAST_LINES))

    def record(self, event: _Event, say: Callable[[str], None], wait: Callable[[str, float], None]) -> None:
        match event:
            case _Event(event="mistake"):
                self.mistakes.append(event.text)
            case _Event(event="note"):
                self.notes.append(event.text)
            case _Event(event="waiting", seconds=float(seconds)):
                wait(event.text, seconds)
            case _Event(event="step"):
                say(event.text)
            case _Event(event="download", done=True):
                say(f"{event.what}: {event.received:,} bytes")


class BuildRuns:
    """Builds of one manifest into one output, one at a time. Close it.

    import_seconds: for the import of one policy. warm: whether the process with the builder stays between builds: each
    is then ready a second earlier, and the process holds some 45 MiB. orphans: of this process, so that the process of
    the builds is not killed as one. module: whether they make the engine for Envoy, too.
    """

    def __init__(
        self,
        manifest: Path,
        output: Path,
        import_seconds: float,
        warm: bool,
        orphans: Orphans | None = None,
        *,
        module: bool = False,
    ) -> None:
        self._orphans = orphans or Orphans()
        self._arguments = str(manifest), str(output), f"{import_seconds:g}", *(["module"] if module else [])
        self._warm = warm
        self._process: asyncio.subprocess.Process | None = None

    async def build(self, say: Callable[[str], None], wait: Callable[[str, float], None]) -> list[str]:
        """Builds, and returns the notes. say: called with each step that begins. wait: called with a step that goes on,
        and for how many seconds.

        Raises BuildRefusedError. If it is cancelled, it ends the build.
        """
        process, log = await self._running_process(), _BuildLog()
        try:
            _write(process, BUILD)
            status = await self._listen(process, log, say, wait)
        except BaseException:
            await self._stop(process)
            raise
        if status is None or not self._warm:
            await self.close()
        if status != 0:
            ended = f"the build ended with {process.returncode if status is None else status}: {' '.join(log.other)}"
            raise BuildRefusedError(log.mistakes or [ended])
        return log.notes

    async def close(self) -> None:
        """Ends the process, and a build that is under way."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        process.stdin.close()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    async def _running_process(self) -> asyncio.subprocess.Process:
        if self._process is None:
            own = (sys.executable, "-m", "gatewright_cli.builds.build_process", *self._arguments)
            with self._orphans.starting() as started:
                self._process = await asyncio.create_subprocess_exec(
                    *launch_command(own), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.STDOUT, limit=LONGEST_LINE, start_new_session=True,
                )  # fmt: skip
                started(self._process.pid)
        return self._process

    async def _listen(
        self,
        process: asyncio.subprocess.Process,
        log: _BuildLog,
        say: Callable[[str], None],
        wait: Callable[[str, float], None],
    ) -> int | None:
        """The exit status of the build; None if the process has ended."""
        assert process.stdout is not None
        async for line in process.stdout:
            try:
                event = msgspec.json.decode(line, type=_Event)
            except msgspec.DecodeError:
                log.other.append(line.decode("utf-8", "backslashreplace").strip())
                continue
            if event.event == "ended":
                return event.status
            log.record(event, say, wait)
        return None

    async def _stop(self, process: asyncio.subprocess.Process) -> None:
        """Stops the build. Leaves a process that is ready for the next build, or none."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                _write(process, STOP)
                ignored = _BuildLog(), lambda _: None, lambda *_: None
                if await self._listen(process, *ignored) is not None and self._warm:
                    return
        await self.close()


def _write(process: asyncio.subprocess.Process, command: bytes) -> None:
    assert process.stdin is not None
    with contextlib.suppress(ConnectionError):  # the reader of its output sees its end
        process.stdin.write(command)
