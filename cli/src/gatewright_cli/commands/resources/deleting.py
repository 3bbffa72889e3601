"""`gatewright delete`: one resource after the other, and what becomes of each."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

import click

from gatewright_cli.clients.controller_refusals import NoAnswerError, RefusedError, preflight_error
from gatewright_cli.clients.resources import LONGEST_WAIT, Resources
from gatewright_cli.commands.controller_address import controller_address
from gatewright_cli.commands.options import NamedController
from gatewright_cli.commands.resources.kinds import SERVED_KINDS, Kind, names_of
from gatewright_cli.mistakes import ExitStatus, worst


@dataclass(frozen=True)
class Deletion:
    """What to delete. revision: that it has to have; None for any. wait: how many seconds to wait for the nodes.

    reason: kept with it; "" for none.
    """

    kind: Kind
    names: tuple[str, ...]
    revision: int | None
    wait: float
    reason: str = ""


def delete_resources(deletion: Deletion, run_dir: Path | None, controller: NamedController | None) -> ExitStatus:
    """Deletes the resources, and reports each. Raises PreflightError, click.UsageError."""
    names = names_of(deletion.kind, deletion.names)
    address = controller_address(run_dir, controller)
    click.echo(f"writing to {address.place}", err=True)
    source = Resources(address.url, address.token, address.tls)
    try:
        return asyncio.run(_delete_all(source, deletion, names))
    except NoAnswerError as error:
        raise preflight_error(error) from error


async def _delete_all(source: Resources, deletion: Deletion, names: tuple[str, ...]) -> ExitStatus:
    return worst([await _delete(source, deletion, name) for name in names])


async def _delete(source: Resources, deletion: Deletion, name: str) -> ExitStatus:
    headers = {} if deletion.revision is None else {"if-match": f'"{deletion.revision}"'}
    terms = {"reason": deletion.reason} if deletion.reason else {}
    wait = min(deletion.wait, LONGEST_WAIT) if deletion.kind in SERVED_KINDS else 0.0
    try:
        reason = await source.delete(deletion.kind.path_of(name), wait, headers, terms)
    except RefusedError as error:
        click.echo(f"error: {error}", err=True)
        return error.status
    click.echo(f"{name} deleted, pending: {reason}" if reason else f"{name} deleted")
    return ExitStatus.NOT_DEPLOYED if reason else ExitStatus.DONE
