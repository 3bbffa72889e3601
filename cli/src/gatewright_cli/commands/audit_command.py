"""`gatewright audit`."""

from __future__ import annotations

from pathlib import Path

import click

from gatewright_cli.commands.options import RUN_DIR, NamedController, controller_options
from gatewright_cli.commands.units import SINCE


@click.command()
@click.option("--since", metavar="DURATION|TIME", type=SINCE, help="From then on: 2h, or 2026-11-30T08:00:00Z.")
@click.option("--actor", metavar="ACTOR", help="What this one did, such as token:ci.")
@click.option("--name", metavar="NAME", help="What was done to the resource of this name.")
@click.option("--refused/--done", default=None, help="What was refused, or what was done. [default: both]")
@click.option("--limit", type=click.IntRange(1), help="How many entries, at most. [default: 20; all with -o jsonl]")
@click.option("--changes", is_flag=True, help="With the diff of each write; secrets are masked.")
@click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json", "jsonl"]),
    default="table",
    show_default=True,
    help="The form; jsonl: an entry on a line, as they arrive.",
)
@RUN_DIR
@controller_options
def audit(
    since: str | None,
    actor: str | None,
    name: str | None,
    refused: bool | None,
    limit: int | None,
    changes: bool,
    output: str,
    run_dir: Path | None,
    controller: NamedController | None,
) -> None:
    """Print who wrote what at a controller, and what was refused, the newest first.

    `gatewright audit --changes -o jsonl` exports the whole log.
    """
    import asyncio

    from gatewright_cli.clients.controller_refusals import DeployError, preflight_error
    from gatewright_cli.commands.access.audit_log import AuditQuery, print_log
    from gatewright_cli.commands.resources.fetching import find_resources

    query = AuditQuery(since, actor, name, refused, limit, changes, output)
    try:
        asyncio.run(print_log(find_resources(run_dir, controller), query))
    except DeployError as error:
        raise preflight_error(error) from error
