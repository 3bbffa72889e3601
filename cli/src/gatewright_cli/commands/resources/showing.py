"""`gatewright get` and `gatewright list`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from gatewright_cli.commands.options import RUN_DIR, NamedController, controller_options
from gatewright_cli.commands.resources.kinds import Kind, Resource, names_of
from gatewright_cli.commands.resources.output import OUTPUT, json_text, table, yaml_documents
from gatewright_cli.mistakes import PreflightError, worst

STATES = ("deployed", "pending", "rejected")


@dataclass(frozen=True)
class Selection:
    """What to show. names: none for all. query: parameters of the list. output: one of `output.FORMATS`."""

    kind: Kind
    names: tuple[str, ...]
    query: tuple[tuple[str, str], ...]
    output: str


def showing(command: Callable[..., Any]) -> Callable[..., Any]:
    """The command with the options of `get` behind its kind and names."""
    options = (
        OUTPUT,
        click.option("--state", type=click.Choice(STATES), help="APIs in this state."),
        click.option(
            "--label", "labels", metavar="KEY[=VALUE]", multiple=True, help="APIs with this label. Repeat it for more."
        ),
        click.option("--owner", metavar="NAME", help="APIs of this owner."),
        RUN_DIR,
        controller_options,
    )
    for option in reversed(options):
        command = option(command)
    return command


def select(
    kind: Kind, names: tuple[str, ...], state: str | None, labels: tuple[str, ...], owner: str | None, output: str
) -> Selection:
    """Raises click.UsageError for a filter of a kind that has none, and for names of a kind of one resource."""
    filters = (("state", state), *(("label", label) for label in labels), ("owner", owner))
    query = tuple((name, value) for name, value in filters if value is not None)
    for name, _ in query:
        if name not in kind.filters:
            raise click.UsageError(f"--{name}: expected it with apis, got {kind.plural}: leave it out")
        if names:
            raise click.UsageError(f"expected NAME or --{name}, got both: leave one out")
    return Selection(kind, names_of(kind, names) if names else (), query, output)


def show(selection: Selection, run_dir: Path | None, controller: NamedController | None) -> None:
    """Prints what is selected. Raises PreflightError, also if some of the names are not there."""
    import asyncio

    from gatewright_cli.clients.controller_refusals import DeployError, preflight_error
    from gatewright_cli.commands.resources.fetching import fetch_list, fetch_named, find_resources

    source, kind = find_resources(run_dir, controller), selection.kind
    try:
        if selection.names:
            resources, refusals = asyncio.run(fetch_named(source, kind, selection.names))
        else:
            resources, refusals = asyncio.run(fetch_list(source, kind, selection.query)), []
    except DeployError as error:
        raise preflight_error(error) from error
    if resources or not refusals:
        click.echo(render(selection, resources), nl=False)
    if refusals:
        raise PreflightError([str(refusal) for refusal in refusals], worst(refusal.status for refusal in refusals))


def render(selection: Selection, resources: Sequence[Resource]) -> str:
    """The resources as text; as JSON a single one that was asked for by its name is an object, others are an array."""
    kind = selection.kind
    match selection.output:
        case "name":
            return "".join(f"{kind.name_of(resource)}\n" for resource in resources)
        case "json":
            is_one = (len(selection.names) == 1 or kind.is_single) and len(resources) == 1
            return json_text(resources[0] if is_one else resources)
        case "yaml":
            return yaml_documents(map(kind.document, resources))
    return table(kind.columns, resources, wide=selection.output == "wide")
