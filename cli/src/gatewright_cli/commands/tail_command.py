"""`gatewright tail`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import click

from gatewright_cli.commands.exchanges.options import Selection, selecting
from gatewright_cli.commands.options import RUN_DIR, NamedController, controller_options


@click.command()
@selecting
@click.option("--json", "as_json", is_flag=True, help="Print each as it was recorded: a JSON object on a line.")
@RUN_DIR
@controller_options
@click.pass_context
def tail(
    context: click.Context,
    selection: Selection,
    as_json: bool,
    run_dir: Path | None,
    controller: NamedController | None,
) -> None:
    """Print exchanges as they end, a line for each: when (UTC), status, duration, request, API and operation, the
    policies that failed or answered, request id.

    An exchange has to match all options. Nodes keep the exchanges that are watched, so that `gatewright explain
    REQUEST_ID` can explain each. Ctrl-C ends it. Exit status 1 if the controller refuses, 6 if it disconnects.
    """
    from gatewright_cli.clients.exchange_source import ExchangeSource
    from gatewright_cli.commands.controller_address import controller_address
    from gatewright_cli.commands.exchanges.watch import ExchangeWatch, hint, say
    from gatewright_cli.exchanges.line import line
    from gatewright_cli.exchanges.paint import Paint
    from gatewright_cli.exchanges.recorded import read

    address, paint = controller_address(run_dir, controller), Paint.of(sys.stdout)

    def show(exchange: bytes) -> None:
        click.echo(exchange if as_json else line(read(exchange), paint), color=paint.colours)

    watch = ExchangeWatch(ExchangeSource(address.url, address.token, address.tls), selection, show, say, hint)
    context.exit(asyncio.run(watch.until_end()))
