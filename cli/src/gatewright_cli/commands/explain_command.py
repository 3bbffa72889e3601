"""`gatewright explain`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gatewright_cli.commands.options import RUN_DIR, NamedController, controller_options
from gatewright_cli.commands.resources.kinds import API
from gatewright_cli.commands.resources.names import names_of_kind
from gatewright_cli.mistakes import ExitStatus, PreflightError

if TYPE_CHECKING:
    from gatewright_cli.exchanges.source_lines import Sources


def complete_apis(context: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """The names of APIs that begin so."""
    return names_of_kind(context, API, incomplete)


@click.command()
@click.argument("request_id", default="")
@click.option("--last", is_flag=True, help="The newest exchange that nodes have kept, in place of REQUEST_ID.")
@click.option("--api", metavar="NAME", help="Explain an API in place of a request.", shell_complete=complete_apis)
@click.option("--json", "as_json", is_flag=True, help="Print it as it was recorded: a JSON object.")
@RUN_DIR
@controller_options
def explain(
    request_id: str,
    last: bool,
    api: str | None,
    as_json: bool,
    run_dir: Path | None,
    controller: NamedController | None,
) -> None:
    """Explain what happened to a request and why: each policy with its time and its changes, failures with file and
    line.

    REQUEST_ID is the x-request-id in logs and error answers, or a file that `gatewright record` made; --last is the
    newest exchange that was kept. Nodes keep an exchange only if it was watched or recorded. --api explains an API:
    each policy and setting that it runs with, and whether the API or Defaults say it. Exit status 3 if none is found.
    """
    from gatewright_cli.commands.exchanges.file import SUFFIX, read_file
    from gatewright_cli.exchanges.paint import Paint
    from gatewright_cli.exchanges.recorded import UnreadableError, read
    from gatewright_cli.exchanges.report import report

    if [bool(request_id), last, api is not None].count(True) != 1:
        raise click.UsageError("expected REQUEST_ID, --last or --api NAME")
    if api is not None:
        _explain_api(api, run_dir, controller, as_json=as_json)
        return
    file = Path(request_id)
    if last:
        recorded = asyncio.run(_fetch_last(run_dir, controller))
    elif request_id.endswith(SUFFIX) or file.is_file():
        recorded = read_file(file)
    else:
        recorded = asyncio.run(_fetch(request_id, run_dir, controller))
    if as_json:
        click.echo(recorded)
        return
    paint = Paint.of(sys.stdout)
    try:
        lines = report(read(recorded), paint, _sources(run_dir))
    except UnreadableError as error:
        raise PreflightError([f"{request_id}: {error}"]) from error
    for line in lines:
        click.echo(line, color=paint.colours)


def _explain_api(name: str, run_dir: Path | None, controller: NamedController | None, *, as_json: bool) -> None:
    from gatewright_cli.commands.apis.explaining import explain_api
    from gatewright_cli.commands.resources.fetching import fetch_at
    from gatewright_cli.commands.resources.output import json_text

    found = fetch_at(f"{API.path_of(name)}/effective", run_dir, controller)
    if as_json:
        click.echo(json_text(found), nl=False)
        return
    for line in explain_api(found):
        click.echo(line)


def _sources(run_dir: Path | None) -> Sources:
    """The policies of the local run's build, and files relative to the working directory."""
    from gatewright_cli.exchanges.source_lines import Sources
    from gatewright_cli.node.files.finding_run import find_run
    from gatewright_cli.node.files.run_dir import RunDirError, read_status

    try:
        build = Path(read_status(run_dir or find_run())["build"])
        return Sources(build / "python-executor" / "policies", Path.cwd())
    except RunDirError:
        return Sources(here=Path.cwd())


async def _fetch_last(run_dir: Path | None, controller: NamedController | None) -> bytes:
    from gatewright_cli.clients.exchange_source import ExchangeSource
    from gatewright_cli.commands.controller_address import controller_address
    from gatewright_cli.commands.exchanges.options import DEFAULT_SECONDS, Selection
    from gatewright_cli.commands.exchanges.watch import NOTHING_KEPT, ExchangeWatch

    address, exchanges, reports = controller_address(run_dir, controller), list[bytes](), list[str]()
    selection = Selection((), kept=True, seconds=DEFAULT_SECONDS, limit=1)
    source = ExchangeSource(address.url, address.token, address.tls)
    status = await ExchangeWatch(source, selection, exchanges.append, reports.append, reports.append).until_end()
    if not exchanges:
        mistakes = [report.removeprefix("error: ") for report in reports] or [NOTHING_KEPT]
        raise PreflightError(mistakes, status or ExitStatus.NOT_FOUND)
    return exchanges[-1]


async def _fetch(request_id: str, run_dir: Path | None, controller: NamedController | None) -> bytes:
    from gatewright_cli.clients.controller_refusals import DeployError, preflight_error
    from gatewright_cli.clients.exchange_source import ExchangeSource
    from gatewright_cli.commands.controller_address import controller_address

    address = controller_address(run_dir, controller)
    try:
        return await ExchangeSource(address.url, address.token, address.tls).get(request_id)
    except DeployError as error:
        raise preflight_error(error) from error
