"""Tells the log lines of a process and of the program inside of it apart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from gatewright_cli.supervision.logs import records
from gatewright_cli.supervision.logs.records import Source


class Parties:
    """The parties of one operating system process: host, and guest if it has one.

    A line in the form of all log lines is of the component that it names. Any other line is the guest's once the guest
    has logged one: a host writes all its lines in that form, except for those before its guest runs.
    """

    def __init__(self, host: Source, guest: Source | None = None) -> None:
        self._host, self._guest = host, guest
        self._guest_runs = False

    def split(self, lines: Sequence[bytes]) -> Iterator[tuple[Source, list[bytes]]]:
        """The lines in their order, in runs of lines of the same party."""
        if self._guest is None:
            yield self._host, list(lines)
            return
        for source, run in groupby(lines, self._party):
            yield source, list(run)

    def _party(self, line: bytes) -> Source:
        assert self._guest is not None
        if records.is_record(self._guest, line):
            self._guest_runs = True
            return self._guest
        return self._guest if self._guest_runs and not records.is_record(self._host, line) else self._host
