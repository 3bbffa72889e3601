"""The audit log, as `gatewright audit` prints it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from gatewright_cli.commands.columns import cell_text, lines_in_columns
from gatewright_cli.commands.resources.kinds import Resource
from gatewright_cli.commands.resources.output import json_text
from gatewright_cli.exchanges.paint import safe

if TYPE_CHECKING:
    from gatewright_cli.clients.resources import Resources

PATH = "/v1/audit"
FORMATS = ("table", "json", "jsonl")
SHOWN = 20
"""Entries of a table and of an array, where no limit is given."""
MOST_ENTRIES, MOST_CHANGES = 1000, 20
"""Entries of one page, without and with what each has changed."""
HEADINGS = ("AT", "ACTOR", "ORIGIN", "ACTION", "RESOURCE", "OUTCOME", "REASON", "DETAIL")
INDENT = "    "


@dataclass(frozen=True)
class AuditQuery:
    """Which entries are printed, and in which of FORMATS. limit: how many, at most; None: SHOWN, or all as jsonl."""

    since: str | None
    actor: str | None
    name: str | None
    refused: bool | None
    limit: int | None
    changes: bool
    output: str

    @property
    def most(self) -> int | None:
        """How many entries are printed, at most."""
        return SHOWN if self.limit is None and self.output != "jsonl" else self.limit

    @property
    def parameters(self) -> list[tuple[str, str]]:
        """Those of the controller's list."""
        page = MOST_CHANGES if self.changes else MOST_ENTRIES
        outcome = None if self.refused is None else "refused" if self.refused else "done"
        asked = (
            ("limit", str(min(self.most or page, page))),
            ("since", self.since),
            ("actor", self.actor),
            ("name", self.name),
            ("outcome", outcome),
            ("changes", "true" if self.changes else None),
        )
        return [(name, value) for name, value in asked if value is not None]


async def print_log(source: Resources, query: AuditQuery) -> None:
    """Prints the entries, as jsonl each as it arrives. Raises RefusedError, NoAnswerError."""
    entries = fetch_entries(source, query)
    if query.output == "jsonl":
        import msgspec

        async for entry in entries:
            click.echo(msgspec.json.encode(entry))
        return
    fetched = [entry async for entry in entries]
    if query.output == "json":
        click.echo(json_text(fetched), nl=False)
        return
    for line in table(fetched):
        click.echo(line)


async def fetch_entries(source: Resources, query: AuditQuery) -> AsyncIterator[Resource]:
    """The newest first. Raises RefusedError, NoAnswerError."""
    left = query.most
    async for entry in source.stream_all(PATH, "entries", query.parameters):
        yield entry
        if left is not None and (left := left - 1) == 0:
            return


def table(entries: Sequence[Resource]) -> Iterator[str]:
    """Lines: headings, and for each entry a row, with what it has changed below it."""
    headings, *rows = lines_in_columns([HEADINGS, *map(_row, entries)])
    yield headings
    for entry, row in zip(entries, rows, strict=True):
        yield row
        for line in entry.get("diff", "").splitlines():
            yield f"{INDENT}{safe(line)}".rstrip()


def _row(entry: Resource) -> tuple[str, ...]:
    """Under HEADINGS."""
    outcome = entry["outcome"] if entry["outcome"] == "done" else f"{entry['outcome']} {entry['status']}"
    cells = (entry["at"], entry["actor"], entry["origin"], entry["action"], _resource(entry), outcome, entry["reason"])
    return tuple(cell_text(cell) or "-" for cell in (*cells, entry.get("detail", "")))


def _resource(entry: Resource) -> str:
    """As `gatewright diff` and `rollback` name it."""
    name = f"{entry['kind'].lower()}/{entry['name']}" if entry["name"] else entry["kind"].lower()
    return f"{name}@{entry['revision']}" if "revision" in entry else name
