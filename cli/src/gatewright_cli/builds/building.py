"""`gatewright build`, for a person: calls the builder, shows its progress, reports its mistakes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from gatewright_builder.build import BuildOptions, BuildResult
from gatewright_builder.build import build as run_builder
from gatewright_builder.events import Download, Event, Note, Step, Waiting
from gatewright_builder.mistake import BuildError
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from gatewright_cli.mistakes import PreflightError

NOTE = "note: "


def build(options: BuildOptions) -> BuildResult:
    """Builds, and shows the progress. Raises PreflightError with a sentence for each mistake."""
    try:
        with progress_display() as show:
            return run_builder(replace(options, say=show.say))
    except BuildError as error:
        raise PreflightError([str(mistake) for mistake in error.mistakes] or [str(error)]) from error


class ProgressDisplay:
    """Shows steps as lines; on a terminal, below them, the running step with its time, and a bar for each download.
    Elsewhere it shows a line for a step that takes long, and one for the end of each download."""

    def __init__(self, progress: Progress, live: bool) -> None:
        self._progress, self._live = progress, live
        self._bars: dict[str, TaskID] = {}
        self._step: TaskID | None = None

    def say(self, event: Event) -> None:
        """Shows an event."""
        match event:
            case Step(text):
                self._print(text)
                self._start_step(text)
            case Waiting(text, seconds):
                self._wait(text, seconds)
            case Note(text):
                self._progress.console.print(f"{NOTE}{text}", markup=False, soft_wrap=True)
            case Download():
                self._bar(event)

    def _print(self, text: str) -> None:
        self._progress.console.print(f"build: {text}", markup=False)

    def _start_step(self, text: str) -> None:
        if self._step is not None:
            self._progress.remove_task(self._step)
        self._step = self._progress.add_task(text, total=None, amount="")

    def _wait(self, text: str, seconds: float) -> None:
        if self._live and self._step is not None:
            self._progress.update(self._step, description=text)
        else:
            self._print(f"{text} … {seconds:.0f} s")

    def _bar(self, event: Download) -> None:
        if event.what not in self._bars:
            self._bars[event.what] = self._progress.add_task(event.what, total=event.total, amount="")
        amount = f"{event.received:,}" + (f" of {event.total:,}" if event.total else "") + " bytes"
        self._progress.update(self._bars[event.what], completed=event.received, amount=amount)
        if event.done:
            self._progress.remove_task(self._bars.pop(event.what))
            self._print(f"{event.what}: {event.received:,} bytes")


@contextmanager
def progress_display() -> Iterator[ProgressDisplay]:
    """A display on stderr, until the end of the block."""
    console, live = Console(stderr=True, highlight=False), sys.stderr.isatty()
    description = TextColumn("build: {task.description}", markup=False)
    columns = description, BarColumn(), TextColumn("{task.fields[amount]}", markup=False), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True, disable=not live) as progress:
        yield ProgressDisplay(progress, live)
