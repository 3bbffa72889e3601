"""`gatewright build --json`, for a program: calls the builder, reports its progress and its mistakes as JSON lines."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import click
from gatewright_builder.build import BuildOptions, BuildResult
from gatewright_builder.build import build as run_builder
from gatewright_builder.events import Event
from gatewright_builder.mistake import BuildError


def build_as_json(options: BuildOptions) -> int:
    """Builds and reports on stdout, a JSON object a line; returns the exit status.

    {"event": "step", "text"}, {"event": "waiting", "text", "seconds"} for a step that takes long,
    {"event": "download", "what", "received", "total", "done"}, {"event": "note", "text"}, at last one
    {"event": "built", "output", "changed", "seconds", "policies", "engine"} or, for each mistake, {"event": "mistake",
    "file", "line", "field", "expected", "got", "cure", "text"}, text being all of it as one sentence.
    """
    try:
        result = run_builder(replace(options, say=say_as_json))
    except BuildError as error:
        for mistake in error.mistakes:
            parts = {"expected": mistake.expected, "got": mistake.got, "cure": mistake.cure, "text": str(mistake)}
            _line("mistake", file=mistake.file, line=mistake.line or None, field=mistake.field, **parts)
        return 1
    say_built_as_json(result)
    return 0


def say_built_as_json(result: BuildResult) -> None:
    """Writes the last line of a build."""
    seconds = {step: round(spent, 3) for step, spent in result.seconds.items()}
    policies, engine = [asdict(policy) for policy in result.policies], "stock" if result.is_stock else "compiled"
    _line("built", output=str(result.output), changed=result.changed, seconds=seconds, policies=policies, engine=engine)


def say_as_json(event: Event) -> None:
    """Writes a line for an event."""
    _line(type(event).__name__.lower(), **asdict(event))


def _line(event: str, **fields: object) -> None:
    click.echo(json.dumps({"event": event, **fields}, ensure_ascii=False))
