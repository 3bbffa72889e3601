"""`gatewright build`: calls the builder, shows its progress, says its mistakes."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import click
from gatewright_builder import BuildError, BuildOptions, BuildResult, Download, Event, Step
from gatewright_builder import build as run_builder
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn

from gatewright_cli.preflight import PreflightError


def build(manifest: Path, output: Path, locked: bool = False) -> BuildResult:
    """Builds. Raises PreflightError with a sentence for each mistake."""
    try:
        with _shown() as show:
            return run_builder(BuildOptions(manifest, output, show.say, locked))
    except BuildError as error:
        raise PreflightError([str(mistake) for mistake in error.mistakes] or [str(error)]) from error


def summary(result: BuildResult) -> str:
    """What was built, for a person: the output, then each policy and the engine on lines of their own."""
    rows = [(f"{one.name} {one.version}", f"{one.runtime}, group {one.group}" if one.group else one.runtime)
            for one in result.policies]  # fmt: skip
    rows.append(("policy engine", "the stock one" if result.is_stock else "compiled for this build"))
    width = max(len(name) for name, _ in rows)
    changed = "" if result.changed else ", nothing has changed"
    head = f"built {result.output} in {sum(result.seconds.values()):.1f} s{changed}"
    return "\n".join([head, *(f"  {name:{width}}  {what}" for name, what in rows)])


def build_as_json(manifest: Path, output: Path, locked: bool = False) -> int:
    """Builds and says so on stdout, a JSON object a line; returns the exit status.

    {"event": "step", "text"}, {"event": "download", "what", "received", "total", "done"}, at last one
    {"event": "built", "output", "changed", "seconds", "policies", "engine"} or, for each mistake, {"event": "mistake",
    "file", "line", "expected", "got", "cure"}.
    """
    try:
        result = run_builder(BuildOptions(manifest, output, _say_json, locked))
    except BuildError as error:
        for mistake in error.mistakes:
            _line("mistake", **asdict(mistake))
        return 1
    seconds = {step: round(spent, 3) for step, spent in result.seconds.items()}
    policies, engine = [asdict(policy) for policy in result.policies], "stock" if result.is_stock else "compiled"
    _line("built", output=str(result.output), changed=result.changed, seconds=seconds, policies=policies, engine=engine)
    return 0


def _say_json(event: Event) -> None:
    _line(type(event).__name__.lower(), **asdict(event))


def _line(event: str, **fields: object) -> None:
    click.echo(json.dumps({"event": event, **fields}, ensure_ascii=False))


class _Show:
    """Steps as lines, and below them a bar for each download, where stderr is a terminal; elsewhere only its end."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._bars: dict[str, TaskID] = {}

    def say(self, event: Event) -> None:
        if isinstance(event, Step):
            self._progress.console.print(f"build: {event.text}", markup=False)
        else:
            self._bar(event)

    def _bar(self, event: Download) -> None:
        if event.what not in self._bars:
            self._bars[event.what] = self._progress.add_task(event.what, total=event.total)
        self._progress.update(self._bars[event.what], completed=event.received)
        if event.done:
            self._progress.remove_task(self._bars.pop(event.what))
            self._progress.console.print(f"build: {event.what}: {event.received:,} bytes", markup=False)


@contextmanager
def _shown() -> Iterator[_Show]:
    console = Console(stderr=True, highlight=False)
    columns = (TextColumn("build: {task.description}", markup=False), BarColumn(), DownloadColumn())
    with Progress(*columns, console=console, transient=True, disable=not sys.stderr.isatty()) as progress:
        yield _Show(progress)
