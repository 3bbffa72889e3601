"""`gatewright node list`: the connected nodes, and below them those that the controller refuses."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import click

from gatewright_cli.clients.controller_refusals import DeployError, preflight_error
from gatewright_cli.commands.columns import cell_text, lines_in_columns
from gatewright_cli.commands.options import NamedController
from gatewright_cli.commands.resources.fetching import fetch_list, find_resources
from gatewright_cli.commands.resources.kinds import NODE, Resource
from gatewright_cli.commands.resources.showing import Selection, render

TABLES = ("table", "wide")
HEADINGS = ("REFUSED", "FROM", "LAST", "REASON")


def list_and_show(output: str, run_dir: Path | None, controller: NamedController | None) -> None:
    """Raises PreflightError."""
    source = find_resources(run_dir, controller)

    async def fetch() -> tuple[list[Resource], list[Resource]]:
        nodes = await fetch_list(source, NODE)
        if output not in TABLES:
            return nodes, []
        return nodes, (await source.fetch(f"{NODE.path}?limit=1")).get("refused", [])

    try:
        nodes, refused = asyncio.run(fetch())
    except DeployError as error:
        raise preflight_error(error) from error
    click.echo(render(Selection(NODE, (), (), output), nodes) + describe_refused(refused), nl=False)


def describe_refused(refused: Sequence[Resource]) -> str:
    """A table of its own; "" for none."""
    if not refused:
        return ""
    rows = [HEADINGS, *(tuple(node[part] for part in ("id", "peer", "at", "reason")) for node in refused)]
    lines = lines_in_columns([tuple(cell_text(cell) for cell in row) for row in rows])
    return "\n" + "".join(f"{line}\n" for line in lines)
