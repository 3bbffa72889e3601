"""The resources that a command line names, from the controller that it names."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from gatewright_cli.clients.controller_refusals import NoAnswerError, RefusedError, preflight_error
from gatewright_cli.clients.resources import ANSWER_SECONDS, Query, Resources
from gatewright_cli.commands.controller_address import controller_address
from gatewright_cli.commands.options import NamedController
from gatewright_cli.commands.resources.kinds import Kind, Resource
from gatewright_cli.mistakes import ExitStatus, PreflightError


def find_resources(
    run_dir: Path | None, controller: NamedController | None, seconds: float = ANSWER_SECONDS
) -> Resources:
    """A client of the controller that `controller_address` finds. Raises PreflightError."""
    address = controller_address(run_dir, controller)
    return Resources(address.url, address.token, address.tls, seconds)


async def fetch_list(source: Resources, kind: Kind, query: Query = ()) -> list[Resource]:
    """The resources of the kind that the query asks for. Raises RefusedError, NoAnswerError."""
    if kind.is_single:
        return [await source.fetch(kind.path)]
    return await source.fetch_all(kind.path, kind.plural, query)


def fetch_one(kind: Kind, name: str, run_dir: Path | None, controller: NamedController | None) -> Resource:
    """The resource of this name. Raises PreflightError."""
    return fetch_at(kind.path_of(name), run_dir, controller)


def fetch_at(path: str, run_dir: Path | None, controller: NamedController | None) -> Resource:
    """What the management API has at this path. Raises PreflightError."""
    source = find_resources(run_dir, controller)
    try:
        return asyncio.run(source.fetch(path))
    except RefusedError as error:
        raise PreflightError([str(error)], error.status) from error
    except NoAnswerError as error:
        raise preflight_error(error) from error


async def fetch_named(source: Resources, kind: Kind, names: Sequence[str]) -> tuple[list[Resource], list[RefusedError]]:
    """The resources of these names, in their order, and a refusal for each that cannot be had. Raises NoAnswerError."""
    resources: list[Resource] = []
    refusals: list[RefusedError] = []
    known = await fetch_list(source, kind) if kind.matches else []
    for name in names:
        try:
            resources += _matching(kind, known, name) if kind.matches else [await source.fetch(kind.path_of(name))]
        except RefusedError as error:
            refusals.append(error)
    return resources, refusals


def _matching(kind: Kind, known: Sequence[Resource], name: str) -> list[Resource]:
    """Raises RefusedError if there is none."""
    assert kind.matches
    if not (found := [resource for resource in known if kind.matches(resource, name)]):
        names = ", ".join(map(kind.name_of, known)) or "none"
        raise RefusedError(f"expected a {kind} ({names}), got {name!r}: correct the name", ExitStatus.NOT_FOUND)
    return found
