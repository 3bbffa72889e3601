"""What `tail` and `record` share: reading exchanges as they arrive, until the stream ends or a signal comes."""

from __future__ import annotations

import asyncio
import heapq
import signal
import sys
from collections.abc import Callable, Sequence

import click
import msgspec

from gatewright_cli.clients.controller_refusals import NoAnswerError, RefusedError
from gatewright_cli.clients.exchange_source import Event, ExchangeSource, WatchedNode
from gatewright_cli.commands.exchanges.options import Selection
from gatewright_cli.exchanges.paint import safe
from gatewright_cli.mistakes import ExitStatus

SIGNALS = (signal.SIGINT, signal.SIGTERM)
BEHIND = "they arrive faster than this command reads them; narrow the filter, or use --sample"

NOTHING_KEPT = "no node has kept a matching exchange; `gatewright tail` and `gatewright record` have nodes keep them"

Say = Callable[[str], None]


class _Start(msgspec.Struct, rename="camel"):
    started_at: str = ""


class Newest:
    """The newest of the exchanges that were added, at most `limit`."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._heap: list[tuple[str, int, bytes]] = []
        self._added = 0

    @property
    def exchanges(self) -> list[bytes]:
        """In the order in which they began, the newest last."""
        return [exchange for _, _, exchange in sorted(self._heap)]

    def add(self, exchange: bytes) -> None:
        """Drops the oldest exchange beyond the limit."""
        self._added += 1
        entry = (msgspec.json.decode(exchange, type=_Start).started_at, self._added, exchange)
        if len(self._heap) < self._limit:
            heapq.heappush(self._heap, entry)
        else:
            heapq.heappushpop(self._heap, entry)


class ExchangeWatch:
    """One run of `tail` or `record`. `count`: exchanges that have arrived.

    on_exchange: called with each exchange. report: called with each problem. hint: called with a text that helps a
    person at a terminal while no exchange arrives.
    """

    def __init__(
        self, source: ExchangeSource, selection: Selection, on_exchange: Callable[[bytes], None], report: Say, hint: Say
    ) -> None:
        self._source, self._selection, self._on_exchange, self._report, self._hint = (
            source,
            selection,
            on_exchange,
            report,
            hint,
        )
        self.count = 0
        self._reported: set[WatchedNode] = set()
        self._sending: list[str] = []

    async def until_end(self) -> ExitStatus:
        """DONE if it ended in order: by its limits, or by SIGINT or SIGTERM. Raises what `on_exchange` raises."""
        loop, stopped = asyncio.get_running_loop(), asyncio.Event()
        for number in SIGNALS:
            loop.add_signal_handler(number, stopped.set)
        watching, stopping = asyncio.create_task(self._watch()), asyncio.create_task(stopped.wait())
        try:
            await asyncio.wait([watching, stopping], return_when=asyncio.FIRST_COMPLETED)
            return await watching if watching.done() else ExitStatus.DONE
        finally:
            for task in (watching, stopping):
                task.cancel()
            await asyncio.wait([watching, stopping])
            for number in SIGNALS:
                loop.remove_signal_handler(number)

    async def _watch(self) -> ExitStatus:
        newest = Newest(self._selection.limit) if self._selection.kept and self._selection.limit else None
        try:
            async for event in self._source.watch(self._selection.query):
                if event.exchange:
                    self.count += 1
                    (newest.add if newest else self._on_exchange)(event.exchange)
                if event.ended and newest:
                    for exchange in newest.exchanges:
                        self._on_exchange(exchange)
                self._report_event(event)
                if event.ended:
                    return ExitStatus.UNREACHABLE if event.ended == "stopping" else ExitStatus.DONE
        except (NoAnswerError, RefusedError) as error:
            self._report(f"error: {error}")
            return error.status
        self._report("error: the controller ended the stream without a reason")
        return ExitStatus.UNREACHABLE

    def _report_event(self, event: Event) -> None:
        if event.dropped:
            self._report(f"{event.dropped} exchange{'' if event.dropped == 1 else 's'} dropped: {BEHIND}")
        if event.nodes is not None:
            self._report_nodes(event.nodes)
        if event.ended == "seconds":
            self._report("ended: the time is over (--seconds)")
        elif event.ended == "stopping":
            self._report("error: the controller is stopping")
        elif event.ended == "told" and not self.count:
            self._report(NOTHING_KEPT)

    def _report_nodes(self, nodes: Sequence[WatchedNode]) -> None:
        """Names the nodes that send exchanges in a hint, and reports each other node, once for each reason."""
        if not nodes:
            self._report("no node is connected to the controller; exchanges are shown once one is")
        silent = {node for node in nodes if node.reason}
        for node in sorted(silent - self._reported, key=lambda node: node.id):
            self._report(safe(f"node {node.id} sends no exchanges: {node.reason}"))
        self._reported = silent
        sending = sorted(node.id for node in set(nodes) - silent)
        if sending and sending != self._sending and not self._selection.kept:
            self._hint(safe(f"watching {', '.join(sending)} for {self._selection.seconds} s; Ctrl-C ends it"))
        self._sending = sending


def say(text: str) -> None:
    """On stderr."""
    click.echo(text, err=True)


def hint(text: str) -> None:
    """On stderr, if that is a terminal: programs do not need hints."""
    if sys.stderr.isatty():
        click.secho(text, err=True, dim=True)
