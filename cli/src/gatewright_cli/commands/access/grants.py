"""Grants in words, and who sends a request."""

from __future__ import annotations

from collections.abc import Iterator

from gatewright_cli.commands.columns import cell_text, lines_in_columns
from gatewright_cli.commands.resources.kinds import Resource


def apis_of(grant: Resource) -> str:
    """The APIs that a grant is for, or the nodes."""
    from gatewright_controller.access import Scope

    scope = Scope(grant["names"], grant["labels"], grant["hosts"], grant["contexts"])
    of, every = ("nodes", "every node") if grant["role"] == "node" else ("APIs", "every API")
    return every if scope.is_every_api else f"{of} with {scope}"


def describe_caller(caller: Resource, place: str) -> Iterator[str]:
    """A line on who it is at the controller, and lines on what they may do there."""
    yield cell_text(f"{caller['actor']} at {place}")
    grants = [("role", f"{grant['role']}, for {apis_of(grant)}") for grant in caller["grants"]]
    rows = [*grants, ("rights", ", ".join(caller["rights"]))]
    yield from lines_in_columns([(heading, cell_text(text)) for heading, text in rows])
