"""`gatewright apply`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from gatewright_cli.commands.options import A_PATH, RUN_DIR, NamedController, controller_options, terms_options
from gatewright_cli.commands.units import DURATION
from gatewright_cli.mistakes import PreflightError


@click.command()
@click.option(
    "-f",
    "--file",
    "places",
    multiple=True,
    required=True,
    type=A_PATH,
    help="An API's file, or a folder of them; - for standard input. Repeatable.",
)
@RUN_DIR
@controller_options
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait until they are deployed.")
@click.option("--timeout", type=DURATION, default="30s", show_default=True, help="How long to wait for that.")
@click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing.")
@click.option(
    "--reload", "with_reload", is_flag=True, help="Build and reload in the same step: all changes take effect, or none."
)
@terms_options
@click.pass_context
def apply(
    context: click.Context,
    places: tuple[Path, ...],
    run_dir: Path | None,
    controller: NamedController | None,
    wait: bool,
    timeout: float,
    dry_run: bool,
    with_reload: bool,
    terms: dict[str, str],
) -> None:
    """Create APIs on a running gateway, or replace them with the files' content. Other APIs stay. The gateway is
    named on stderr.

    Exit status 1 if an API is refused, whose file and line are printed, 5 if one is not deployed.
    With --dry-run: 1 if one would be refused.

    With --reload the policies of the build, as with `gatewright reload`, and these APIs change in one step, so that a
    policy can get a required parameter which an API sets.
    """
    import asyncio

    from gatewright_cli.commands.apis import applying

    if with_reload and (dry_run or controller is not None):
        other = "--dry-run" if dry_run else "--controller"
        cure = "leave one out" if dry_run else "it reloads a run on this machine: leave one out"
        raise PreflightError([f"expected --reload or {other}, got both: {cure}"])
    files = applying.load(places, sys.stdin.buffer.read)
    target = applying.find_target(run_dir, controller, terms)
    if with_reload and target.run_dir is None:
        cure = "name the run with --run-dir"
        raise PreflightError([f"--reload reloads a run on this machine, got {target.place}: {cure}"])

    def report_error(text: str) -> None:
        click.echo(text, err=True)

    report_error(f"{'comparing with' if dry_run else 'writing to'} {target.place}")
    if with_reload:
        from gatewright_cli.commands.apis.applying_with_reload import apply_with_reload

        work = apply_with_reload(target, files, terms, timeout if wait else None, click.echo, report_error)
    elif dry_run:
        work = applying.try_files(target, files, click.echo, report_error)
    else:
        work = applying.apply_files(target, files, timeout if wait else None, click.echo, report_error)
    context.exit(asyncio.run(work))
