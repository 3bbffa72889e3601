"""The rows of the table."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from e2e.kit.conversation import Version

HTTP1: Version = "HTTP/1.1"
HTTP2: Version = "HTTP/2"
EVERY_WAY: list[tuple[Version, Version]] = [
    (client, upstream) for client in (HTTP1, HTTP2) for upstream in (HTTP1, HTTP2)
]
"""Versions of client and upstream."""

Run = Callable[[Any], Coroutine[Any, Any, str]]
"""Takes where the row runs: a `Way`, `Calls` or a `Socket`."""

PASSES = "passes"
WHOLE = "whole, at its end"
HELD = "408: held until the request ends"


@dataclass(frozen=True)
class Row:
    """`run` answers what has come of it: PASSES, or what `differs` says for the column. `versions`: of client and
    upstream; every pair has the same result. `times_out`: it waits for timeouts, and its APIs have short ones."""

    title: str
    run: Run
    differs: Mapping[str, str] = field(default_factory=dict)
    versions: Sequence[tuple[Version, Version]] = ()
    times_out: bool = False

    def expected(self, column: str) -> str:
        """The table's cell of the column."""
        return self.differs.get(column, PASSES)


def row(
    title: str,
    differs: Mapping[str, str] | None = None,
    versions: Sequence[tuple[Version, Version]] = tuple(EVERY_WAY),
    *,
    times_out: bool = False,
) -> Callable[[Run], Row]:
    """Makes a row of a function."""
    return lambda run: Row(title, run, differs or {}, versions, times_out)
