"""`gatewright plan`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from gatewright_cli.commands.options import (
    A_PATH,
    OWNER,
    PRUNE,
    RUN_DIR,
    TAKE_OVER,
    NamedController,
    controller_options,
    files_option,
)
from gatewright_cli.mistakes import ExitStatus, refuse


@click.command()
@files_option(required=True)
@OWNER
@TAKE_OVER
@PRUNE
@RUN_DIR
@controller_options
@click.option("-o", "--output", type=A_PATH, metavar="FILE", help="Keep the plan, for `gatewright apply --plan FILE`.")
@click.option("--diff", is_flag=True, help="Show below each change what differs.")
@click.option("--exit-code", is_flag=True, help="Exit status 2 if there are changes.")
@click.pass_context
def plan(
    context: click.Context,
    places: tuple[Path, ...],
    owner: str,
    prune: bool,
    take_over: bool,
    run_dir: Path | None,
    controller: NamedController | None,
    output: Path | None,
    diff: bool,
    exit_code: bool,
) -> None:
    """Show what `gatewright apply` would change on a running gateway, and what that means to requests.

    Nothing is changed. Exit status 1 if an API is refused, whose file and line are printed, 4 if what is there keeps
    the files from being applied.
    """
    import asyncio

    from gatewright_cli.commands.apis import applying, planning
    from gatewright_cli.commands.apis.plan_file import refuse_values, write_plan

    if prune and not owner:
        refuse(["expected --owner NAME with --prune, got none: name who applies the files"])
    documents = applying.load_unread(places, sys.stdin.buffer.read)
    if output:
        refuse_values(documents)
    target = applying.find_target(run_dir, controller)
    resources = planning.Ownership(owner, prune, take_over).resources(target, documents)

    def report_error(text: str) -> None:
        click.echo(text, err=True)

    report_error(f"comparing with {target.place}")
    made = asyncio.run(planning.plan_set(target, resources, click.echo, report_error, diff=diff))
    if isinstance(made, ExitStatus):
        context.exit(made)
    if output:
        write_plan(output, resources, made)
    context.exit(planning.CHANGES if exit_code and made.changes else ExitStatus.DONE)
