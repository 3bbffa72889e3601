"""`gatewright status`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from gatewright_cli.commands.options import RUN_DIR
from gatewright_cli.mistakes import PreflightError


@click.command()
@RUN_DIR
@click.option("--json", "as_json", is_flag=True, help="Print it as a JSON object.")
@click.option("--healthcheck", is_flag=True, help="Print nothing, and exit with 0 even if the node is degraded.")
@click.pass_context
def status(context: click.Context, run_dir: Path | None, as_json: bool, healthcheck: bool) -> None:
    """Print the state of a node: the addresses of its listeners, metrics and Inspector, its processes, its APIs, its
    certificates by ACME, the policies under quarantine.

    Exit status 0: it is healthy; 3: it serves, but an API is not deployed, a process is down or was within the last
    minute, a certificate is not obtained or renewed, a policy is under quarantine, or a process returned no metrics at
    the last scrape; 1: it does not serve, or no run was found.
    """
    from gatewright_cli.commands.status.health import Health, health
    from gatewright_cli.node.files.finding_run import find_run
    from gatewright_cli.node.files.run_dir import RunDirError, read_status

    try:
        run_dir = run_dir or find_run()
        run_status = read_status(run_dir)
    except RunDirError as error:
        raise PreflightError([str(error)]) from error
    if healthcheck:
        context.exit(0 if health(run_status) is not Health.NOT_SERVING else 1)
    from gatewright_cli.commands.status import sources, table

    run_status = sources.collect(run_dir, run_status)
    if as_json:
        click.echo(json.dumps(run_status, indent=2))
    else:
        table.write(run_status, sys.stdout)
    context.exit(health(run_status))
