"""`gatewright wait`."""

from __future__ import annotations

from pathlib import Path

import click

from gatewright_cli.commands.options import RUN_DIR, NamedController, controller_options
from gatewright_cli.commands.resources.kinds import SERVED_KINDS, Kind, KindType, names_of
from gatewright_cli.commands.resources.names import complete_names
from gatewright_cli.commands.units import DURATION


@click.command()
@click.argument("kind", type=KindType(SERVED_KINDS))
@click.argument("names", metavar="[NAME]...", nargs=-1, shell_complete=complete_names)
@click.option("--for", "condition", type=click.Choice(["deployed", "deleted"]), required=True, help="What to wait for.")
@click.option("--timeout", type=DURATION, default="30s", show_default=True, help="How long to wait, for all together.")
@RUN_DIR
@controller_options
@click.pass_context
def wait(
    context: click.Context,
    kind: Kind,
    names: tuple[str, ...],
    condition: str,
    timeout: float,
    run_dir: Path | None,
    controller: NamedController | None,
) -> None:
    """Wait until every connected node serves these APIs, or the Gateway, as they are now; or until none serves them.

    An API that names nodes is waited for on these. It ends early for what is rejected, which a node cannot serve until
    it is written anew, and for an API that names nodes of which none is connected.

    Exit status 5 if it is not reached, 3 if a name is not there (with --for deployed).
    """
    import asyncio

    from gatewright_cli.clients.controller_refusals import NoAnswerError, preflight_error
    from gatewright_cli.commands.resources.fetching import find_resources
    from gatewright_cli.commands.resources.waiting import wait_for
    from gatewright_cli.mistakes import worst

    names = names_of(kind, names)
    source = find_resources(run_dir, controller)
    try:
        outcomes = asyncio.run(wait_for(source, kind, names, condition, timeout))
    except NoAnswerError as error:
        raise preflight_error(error) from error
    for outcome in outcomes:
        if outcome.status:
            click.echo(f"error: {outcome.name} is not {condition}: {outcome.reason}", err=True)
        else:
            click.echo(f"{outcome.name} {condition}")
    context.exit(worst(outcome.status for outcome in outcomes))
