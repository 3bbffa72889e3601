"""A reload: build → freeze → take over → tell the controller. What is refused on the way leaves all as it was."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gatewright_cli import management, ports
from gatewright_cli.build_output import BuildOutputError
from gatewright_cli.engine_admin import RefusedError
from gatewright_cli.executors import Executors
from gatewright_cli.generation import Generation, GenerationError, Generations
from gatewright_cli.keeper import StartError
from gatewright_cli.log_output import LogOutput
from gatewright_cli.management import DeployError

MISTAKE = "error: "
STEP = "build: "


class ReloadError(Exception):
    """The present generation goes on: `reasons` has a sentence for each mistake."""

    def __init__(self, reasons: list[str]) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = reasons


@dataclass(frozen=True)
class Reloaded:
    """The generation that serves now, how long it took until it did, and what of the build needs a restart."""

    generation: int
    seconds: float
    notes: tuple[str, ...] = ()


class Reloads:
    """Reloads of one run, one after the other.

    manifest: the build.yaml to build first; None to take the output as it is. controller: HOST:PORT, or None.
    """

    def __init__(
        self,
        generations: Generations,
        executors: Executors,
        output: LogOutput,
        manifest: Path | None,
        target: Path,
        controller: str | None,
    ) -> None:
        self._generations, self._executors, self._output = generations, executors, output
        self._manifest, self._target, self._controller = manifest, target, controller
        self._one_at_a_time = asyncio.Lock()
        self._cleaning: set[asyncio.Task[None]] = set()

    async def reload(self, say: Callable[[str], None] = lambda _: None) -> Reloaded:
        """Raises ReloadError. Logs one line either way. `say` is told, in a few words, what is about to take time."""
        async with self._one_at_a_time:
            began = time.monotonic()
            try:
                notes = await self._reload(say)
            except ReloadError as error:
                serving = self._executors.generation.number
                self._output.event(f"reload refused: {error}", "error", serving_generation=serving)
                raise
            done = Reloaded(self._executors.generation.number, time.monotonic() - began, notes)
            self._output.event("reloaded", generation=done.generation, took=f"{done.seconds:.2f}s")
            for note in notes:
                self._output.event(note, "warning")
            return done

    async def _reload(self, say: Callable[[str], None]) -> tuple[str, ...]:
        if self._manifest is not None:
            say("building")
            await _build(self._manifest, self._target, say)
        before = self._executors.generation
        fresh = await self._frozen(before)
        try:
            say("starting the new executors")
            left = await self._executors.move_to(fresh)
        except (RefusedError, StartError) as error:
            reasons = str(error).splitlines()
            self._generations.drop(fresh)
            raise ReloadError(reasons) from error
        except BaseException:
            self._generations.drop(fresh)
            raise
        self._generations.adopt(fresh)
        left.add_done_callback(lambda _: self._generations.drop(before))
        return (*fresh.notes, *await self._tell_controller())

    async def _frozen(self, before: Generation) -> Generation:
        try:
            return await asyncio.to_thread(self._generations.next, before)
        except (GenerationError, BuildOutputError) as error:
            raise ReloadError(str(error).splitlines()) from error

    async def _tell_controller(self) -> list[str]:
        """The new generation serves already: what goes wrong here is a note."""
        if self._controller is None:
            return []
        try:
            await management.reload_policies(ports.url(self._controller))
        except DeployError as error:
            return [f"the controller does not know the new policies: {error}"]
        return []


async def _build(manifest: Path, output: Path, say: Callable[[str], None]) -> None:
    """As `gatewright build`, in a process of its own: it may take minutes, and the run goes on meanwhile."""
    command = (sys.executable, "-m", "gatewright_cli", "build", "--manifest", str(manifest), "--output", str(output))
    build = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    lines: list[str] = []
    try:
        assert build.stderr is not None
        async for line in build.stderr:
            lines.append(line.decode("utf-8", "backslashreplace").rstrip())
            if lines[-1].startswith(STEP):
                say(lines[-1].removeprefix(STEP))
        await build.wait()
    finally:
        with contextlib.suppress(ProcessLookupError):
            build.kill()
    if build.returncode != 0:
        mistakes = [line.removeprefix(MISTAKE) for line in lines if line.startswith(MISTAKE)]
        raise ReloadError(mistakes or [f"the build ended with {build.returncode}: {' '.join(lines[-5:])}"])
