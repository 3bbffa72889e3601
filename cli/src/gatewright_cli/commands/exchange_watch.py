"""What `tail` and `record` have in common: exchanges as they come, until their end or a signal."""

from __future__ import annotations

import asyncio
import heapq
import signal
import sys
from collections.abc import Callable, Sequence

import click
import msgspec

from gatewright_cli.commands.exchange_options import Selection
from gatewright_cli.exchanges.paint import safe
from gatewright_cli.node.exchange_source import Event, ExchangeSource, RefusedError, WatchedNode
from gatewright_cli.node.management import NoAnswerError

SIGNALS = (signal.SIGINT, signal.SIGTERM)
BEHIND = "they came faster than this command reads them; watch fewer with a filter, or --sample"

NOTHING_KEPT = "no node has kept a matching exchange; `gatewright tail` and `gatewright record` have nodes keep them"

Say = Callable[[str], None]


class _Start(msgspec.Struct, rename="camel"):
    started_at: str = ""


class Newest:
    """The newest of the exchanges that were added, at most `limit`."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._found: list[tuple[str, int, bytes]] = []
        self._added = 0

    @property
    def exchanges(self) -> list[bytes]:
        """The newest last, by when they began."""
        return [exchange for _, _, exchange in sorted(self._found)]

    def add(self, exchange: bytes) -> None:
        """Forgets the oldest where they are too many."""
        self._added += 1
        began = (msgspec.json.decode(exchange, type=_Start).started_at, self._added, exchange)
        if len(self._found) < self._limit:
            heapq.heappush(self._found, began)
        else:
            heapq.heappushpop(self._found, began)


class ExchangeWatch:
    """One run of it. `count`: exchanges that have come.

    take: called with each exchange. report: called with what is not as it should be. hint: with what helps who looks
    at a terminal where nothing comes.
    """

    def __init__(
        self, source: ExchangeSource, selection: Selection, take: Callable[[bytes], None], report: Say, hint: Say
    ) -> None:
        self._source, self._selection, self._take, self._report, self._hint = source, selection, take, report, hint
        self.count = 0
        self._named: set[WatchedNode] = set()
        self._telling: list[str] = []

    async def until_end(self) -> bool:
        """Whether it ended in order: as was asked for, or by SIGINT or SIGTERM. Raises what `take` raises."""
        loop, stopped = asyncio.get_running_loop(), asyncio.Event()
        for number in SIGNALS:
            loop.add_signal_handler(number, stopped.set)
        watching, stopping = asyncio.create_task(self._watch()), asyncio.create_task(stopped.wait())
        try:
            await asyncio.wait([watching, stopping], return_when=asyncio.FIRST_COMPLETED)
            return await watching if watching.done() else True
        finally:
            for task in (watching, stopping):
                task.cancel()
            await asyncio.wait([watching, stopping])
            for number in SIGNALS:
                loop.remove_signal_handler(number)

    async def _watch(self) -> bool:
        newest = Newest(self._selection.limit) if self._selection.kept and self._selection.limit else None
        try:
            async for event in self._source.watch(self._selection.query):
                if event.exchange:
                    self.count += 1
                    (newest.add if newest else self._take)(event.exchange)
                if event.ended and newest:
                    for exchange in newest.exchanges:
                        self._take(exchange)
                self._say(event)
                if event.ended:
                    return event.ended != "stopping"
        except (NoAnswerError, RefusedError) as error:
            self._report(f"error: {error}")
            return False
        self._report("error: the controller ended the stream without a reason")
        return False

    def _say(self, event: Event) -> None:
        if event.dropped:
            self._report(f"{event.dropped} exchange{'' if event.dropped == 1 else 's'} dropped: {BEHIND}")
        if event.nodes is not None:
            self._say_who_tells(event.nodes)
        if event.ended == "seconds":
            self._report("ended: the time is over (--seconds)")
        elif event.ended == "stopping":
            self._report("error: the controller is stopping")
        elif event.ended == "told" and not self.count:
            self._report(NOTHING_KEPT)

    def _say_who_tells(self, nodes: Sequence[WatchedNode]) -> None:
        """Those that do, for who waits; each that does not, once for each reason."""
        if not nodes:
            self._report("no node is connected to the controller; exchanges are shown once one is")
        silent = {node for node in nodes if node.reason}
        for node in sorted(silent - self._named, key=lambda one: one.id):
            self._report(safe(f"node {node.id} sends no exchanges: {node.reason}"))
        self._named = silent
        telling = sorted(node.id for node in set(nodes) - silent)
        if telling and telling != self._telling and not self._selection.kept:
            self._hint(safe(f"watching {', '.join(telling)} for {self._selection.seconds} s; Ctrl-C ends it"))
        self._telling = telling


def say(text: str) -> None:
    """On stderr."""
    click.echo(text, err=True)


def hint(text: str) -> None:
    """On stderr, where that is a terminal: programs need not be told."""
    if sys.stderr.isatty():
        click.secho(text, err=True, dim=True)
