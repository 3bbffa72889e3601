"""`gatewright log-level`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gatewright_cli.commands.options import RUN_DIR
from gatewright_cli.commands.units import DURATION

if TYPE_CHECKING:
    from gatewright_cli.run.logs.level import Level


@click.command("log-level")
@click.argument("changes", nargs=-1, metavar="[COMPONENT=LEVEL]...")
@click.option("--for", "seconds", type=DURATION, help="Restore the levels after this. [default: when the run ends]")
@RUN_DIR
@click.option("--json", "as_json", is_flag=True, help="Print the levels as a JSON object.")
@click.pass_context
def log_level(
    context: click.Context, changes: tuple[str, ...], seconds: float | None, run_dir: Path | None, as_json: bool
) -> None:
    """Print the log level of each component of a running node, or change it.

    Components are supervisor, controller, python-executor, policy-engine, envoy, and parts of Envoy such as
    envoy.ext_proc. Levels are debug, info, warning and error, of Envoy also trace, critical and off; `default` is what
    the run was started with. A change applies to processes that start later, too.

    Exit status 1 if a change was refused.
    """
    from gatewright_cli.run import control

    answer = control.log_levels(run_dir, _parse_changes(changes), seconds)
    for reason in answer.reasons:
        click.echo(f"error: {reason}", err=True)
    if as_json:
        import msgspec

        click.echo(msgspec.json.format(msgspec.json.encode({"levels": answer.levels})))
    elif not answer.reasons:
        click.echo("\n".join(_lines(answer.levels)))
    context.exit(1 if answer.reasons else 0)


def _parse_changes(changes: Sequence[str]) -> dict[str, str]:
    levels: dict[str, str] = {}
    for change in changes:
        component, equals, level = change.partition("=")
        if not equals or not level or component in levels:
            expected = "COMPONENT=LEVEL, each component once, such as policy-engine=debug"
            raise click.UsageError(f"expected {expected}, got {change!r}")
        levels[component] = level
    return levels


def _lines(levels: Sequence[Level]) -> list[str]:
    width = max(len(level.component) for level in levels)
    return [f"{level.component:<{width}}  {level.level}{_expiry(level)}" for level in levels]


def _expiry(level: Level) -> str:
    return f"  until {level.until}, then {level.then or 'as envoy'}" if level.until else ""
