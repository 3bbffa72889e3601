"""`gatewright record`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gatewright_cli.commands.exchanges.options import Selection, selecting
from gatewright_cli.commands.options import A_PATH, RUN_DIR, NamedController, controller_options
from gatewright_cli.mistakes import ExitStatus, PreflightError

if TYPE_CHECKING:
    from gatewright_cli.clients.exchange_source import ExchangeSource


@click.command()
@click.argument("folder", metavar="[DIR]", required=False, type=A_PATH)
@selecting
@RUN_DIR
@controller_options
@click.pass_context
def record(
    context: click.Context,
    folder: Path | None,
    selection: Selection,
    run_dir: Path | None,
    controller: NamedController | None,
) -> None:
    """Save exchanges as they end, each to a new file NAME.exchange.json in DIR, and print its path.

    Without DIR the nodes keep them in memory, the newest ones, for `gatewright explain` and `gatewright tail --kept`;
    the command returns at once.

    An exchange has to match all options. Ctrl-C ends it. Exit status 1 if the controller refuses or a file cannot be
    written, 6 if the controller disconnects.
    """
    from gatewright_cli.clients.exchange_source import ExchangeSource
    from gatewright_cli.commands.controller_address import controller_address

    if folder is None and (selection.kept or selection.limit):
        option = "--kept" if selection.kept else "--limit"
        raise PreflightError([f"expected DIR with {option}, got none: name a folder for the files"])
    address = controller_address(run_dir, controller)
    source = ExchangeSource(address.url, address.token, address.tls)
    if folder is None:
        asyncio.run(_keep(source, selection))
    else:
        context.exit(_save(source, selection, folder))


def _save(source: ExchangeSource, selection: Selection, folder: Path) -> ExitStatus:
    from gatewright_cli.commands.exchanges import file
    from gatewright_cli.commands.exchanges.watch import ExchangeWatch, hint, say

    file.make_folder(folder)

    def save(exchange: bytes) -> None:
        click.echo(file.write(folder, exchange))

    watch = ExchangeWatch(source, selection, save, say, hint)
    status = asyncio.run(watch.until_end())
    say(f"{watch.count} exchange{'' if watch.count == 1 else 's'} in {folder}")
    return status


async def _keep(source: ExchangeSource, selection: Selection) -> None:
    from gatewright_cli.clients.controller_refusals import DeployError, preflight_error

    try:
        recording = await source.record(selection.filter, selection.seconds)
    except DeployError as error:
        raise preflight_error(error) from error
    click.echo(f"recording {recording.id} until {recording.ends_at}")
    for node in recording.nodes:
        if node.reason:
            click.echo(f"node {node.id} does not record: {node.reason}", err=True)
