"""`gatewright apply`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gatewright_cli.commands.options import (
    A_PATH,
    PRUNE,
    RUN_DIR,
    NamedController,
    controller_options,
    files_option,
    terms_options,
)
from gatewright_cli.commands.units import DURATION
from gatewright_cli.mistakes import ExitStatus, PreflightError, refuse

if TYPE_CHECKING:
    from gatewright_cli.api_files import ApiFiles
    from gatewright_cli.commands.apis.applying import Target


@dataclass(frozen=True)
class Choices:
    """What the options say of what is applied, and how."""

    places: tuple[Path, ...]
    plan: Path | None
    terms: dict[str, str]
    prune: bool
    dry_run: bool
    reload: bool
    seconds: float | None


@click.command()
@files_option()
@click.option("--plan", type=A_PATH, metavar="FILE", help="Apply what `gatewright plan -o FILE` said, or nothing.")
@PRUNE
@RUN_DIR
@controller_options
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait until they are deployed.")
@click.option("--timeout", type=DURATION, default="30s", show_default=True, help="How long to wait for that, up to 5m.")
@click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing.")
@click.option(
    "--reload", "with_reload", is_flag=True, help="Build and reload in the same step: all changes take effect, or none."
)
@terms_options
@click.pass_context
def apply(
    context: click.Context,
    places: tuple[Path, ...],
    plan: Path | None,
    prune: bool,
    run_dir: Path | None,
    controller: NamedController | None,
    wait: bool,
    timeout: float,
    dry_run: bool,
    with_reload: bool,
    terms: dict[str, str],
) -> None:
    """Create APIs on a running gateway, or replace them with the files' content: all of them, or none. Other APIs stay.
    The gateway is named on stderr.

    Exit status 1 if an API is refused, whose file and line are printed, 4 if what is there keeps them from being
    applied, 5 if one is not deployed. With --dry-run: 1 or 4 if they would be refused.

    With --reload the policies of the build, as with `gatewright reload`, and these APIs change in one step, so that a
    policy can get a required parameter which an API sets.
    """
    import asyncio

    from gatewright_cli.commands.apis import applying

    if not places and not plan:
        raise click.UsageError("expected -f PATH or --plan FILE, got neither")
    choices = Choices(places, plan, terms, prune, dry_run, with_reload, timeout if wait else None)
    refuse(list(_mistakes(choices, controller)))
    work = _work(choices)
    target = applying.find_target(run_dir, controller, terms)
    if with_reload and target.run_dir is None:
        cure = "name the run with --run-dir"
        raise PreflightError([f"--reload reloads a run on this machine, got {target.place}: {cure}"])
    _report_error(f"{'comparing with' if dry_run else 'writing to'} {target.place}")
    context.exit(asyncio.run(work(target)))


def _mistakes(choices: Choices, controller: NamedController | None) -> Iterator[str]:
    """Options that do not go together."""
    if choices.places and choices.plan:
        yield "expected -f PATH or --plan FILE, got both: a plan has its files in it"
    others = {"--prune": choices.prune, "--dry-run": choices.dry_run}
    planned = {"--owner": "owner" in choices.terms, "--take-over": "take_over" in choices.terms}
    for option, value, against in (
        ("--plan", choices.plan, {**others, **planned, "--reload": choices.reload}),
        ("--reload", choices.reload, others),
    ):
        for other in (other for other, against_value in against.items() if value and against_value):
            yield f"expected {option} or {other}, got both: leave one out"
    if choices.reload and controller is not None:
        yield "expected --reload or --controller, got both: it reloads a run on this machine: leave one out"
    if choices.prune and "owner" not in choices.terms:
        yield "expected --owner NAME with --prune, got none: name who applies the files"


def _work(choices: Choices) -> Callable[[Target], Coroutine[Any, Any, ExitStatus]]:
    """What is done to the controller, once all files are read. Raises PreflightError."""
    from gatewright_cli.commands.apis import applying, planning

    if choices.reload:
        return _reloading(applying.load(choices.places, sys.stdin.buffer.read), choices)
    if choices.plan:
        return _applying_plan(choices.plan, choices)
    documents = applying.load_unread(choices.places, sys.stdin.buffer.read)
    ownership = planning.Ownership.of(choices.terms, prune=choices.prune)

    async def work(target: Target) -> ExitStatus:
        resources = ownership.resources(target, documents)
        if choices.dry_run:
            return await planning.try_set(target, resources, click.echo, _report_error)
        return await planning.apply_set(target, resources, choices.seconds, click.echo, _report_error)

    return work


def _applying_plan(path: Path, choices: Choices) -> Callable[[Target], Coroutine[Any, Any, ExitStatus]]:
    from gatewright_cli.commands.apis import planning
    from gatewright_cli.commands.apis.plan_file import read_plan

    kept = read_plan(path)

    async def work(target: Target) -> ExitStatus:
        return await planning.apply_set(
            target, kept.resources, choices.seconds, click.echo, _report_error, reviewed=kept.plan
        )

    return work


def _reloading(files: ApiFiles, choices: Choices) -> Callable[[Target], Coroutine[Any, Any, ExitStatus]]:
    from gatewright_cli.commands.apis.applying_with_reload import apply_with_reload

    async def work(target: Target) -> ExitStatus:
        return await apply_with_reload(target, files, choices.terms, choices.seconds, click.echo, _report_error)

    return work


def _report_error(text: str) -> None:
    click.echo(text, err=True)
