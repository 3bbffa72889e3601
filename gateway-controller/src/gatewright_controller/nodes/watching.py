"""The listeners of an observation: a watcher, whose reader takes what is held for it, or a recording, which nodes keep.

For a reader that is too slow, the oldest exchanges are dropped, and it gets their number: neither a node nor another
reader waits for it.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

import msgspec

from gatewright_controller.nodes.observations import Observations, ObservedNode

TAKEN_BYTES = 256 * 1024
"""About how much a watcher is given at once."""

EndReason = Literal["limit", "seconds", "told", "stopping"]
"""limit, seconds: as asked for. told: nodes have sent what they have kept. stopping: the controller ends."""


@dataclass(frozen=True)
class WatchLimits:
    """How much of a controller watchers and recordings may take."""

    held_bytes: int = 4 * 1024 * 1024
    """Of exchanges that a watcher has yet to take; the newest one is held whatever its size."""
    most_watchers: int = 32
    most_recordings: int = 16


class TooManyError(Exception):
    """No more can watch, or record, at once; the message says how many do."""


class Taken(msgspec.Struct, frozen=True):
    """What a watcher is given at once, in this order. nodes: if they have changed; dropped:
    how many exchanges were, since the last time; ended: why there is no more.
    """

    nodes: list[ObservedNode] | None = None
    dropped: int = 0
    exchanges: tuple[bytes, ...] = ()
    ended: EndReason | None = None


class Watcher:
    """One reader of exchanges; `Watching` makes it. Close it."""

    def __init__(
        self,
        observations: Observations,
        exchange_filter: bytes,
        *,
        kept: bool,
        until: float,
        limit: int,
        most_bytes: int,
    ) -> None:
        self._observations, self._until, self._limit, self._most_bytes = observations, until, limit, most_bytes
        self._held: deque[bytes] = deque()
        self._held_bytes = self._dropped = self._given = 0
        self._wake = asyncio.Event()
        self._sent_nodes: list[ObservedNode] | None = None
        self._observation = observations.open(exchange_filter, self, kept=kept)

    def close(self) -> None:
        """Nodes are no longer asked for it."""
        self._observations.close(self._observation, self)
        self._held.clear()

    # ------------------------------------------------------------ Listener

    def received(self, exchange: bytes) -> None:
        """Held until it is taken, or dropped for newer ones."""
        if self._has_enough:
            return
        self._held.append(exchange)
        self._held_bytes += len(exchange)
        while self._held_bytes > self._most_bytes and len(self._held) > 1:
            self._held_bytes -= len(self._held.popleft())
            self._dropped += 1
        self._wake.set()

    def missed(self, count: int) -> None:
        """Counted with those that are dropped here."""
        self._dropped += count
        self._wake.set()

    def changed(self) -> None:
        """The reader looks for itself."""
        self._wake.set()

    # ------------------------------------------------------------ its reader

    async def take(self, seconds: float) -> Taken:
        """What there is, once there is something; empty after so many seconds."""
        loop = asyncio.get_running_loop()
        waits_until = min(self._until, loop.time() + seconds)
        while (taken := self._taken()) == Taken() and loop.time() < waits_until:
            self._wake.clear()
            timer = loop.call_at(waits_until, self._wake.set)
            try:
                await self._wake.wait()
            finally:
                timer.cancel()
        return taken

    def _taken(self) -> Taken:
        if self._observations.stopping:  # nodes go, too, and not by themselves
            return Taken(ended="stopping")
        nodes = self._observations.nodes(self._observation)
        news = None if nodes == self._sent_nodes else nodes
        dropped, self._sent_nodes, self._dropped = self._dropped, nodes, 0
        return Taken(news, dropped, tuple(self._pieces()), self._end())

    def _pieces(self) -> Iterator[bytes]:
        size = 0
        while self._held and size < TAKEN_BYTES:
            exchange = self._held.popleft()
            size += len(exchange)
            self._held_bytes -= len(exchange)
            self._given += 1
            yield exchange

    def _end(self) -> EndReason | None:
        if self._held:
            return None
        if self._limit and self._given >= self._limit:
            return "limit"
        if self._is_over:
            return "seconds"
        return "told" if self._observation.kept and not self._observation.waits_for else None

    @property
    def _has_enough(self) -> bool:
        return self._is_over or bool(self._limit and self._given + len(self._held) >= self._limit)

    @property
    def _is_over(self) -> bool:
        return asyncio.get_running_loop().time() >= self._until


class Recording:
    """What nodes keep for a while without a watcher."""

    def __init__(self, observations: Observations, exchange_filter: bytes, seconds: int) -> None:
        self.id = secrets.token_hex(4)
        self.filter, self.seconds = exchange_filter, seconds
        self.started_at = datetime.now(UTC)
        self.ends_at = self.started_at + timedelta(seconds=seconds)
        self._observations = observations
        self._observation = observations.open(exchange_filter, self, seconds=seconds)

    def nodes(self) -> list[ObservedNode]:
        """Whether each records."""
        return self._observations.nodes(self._observation)

    def close(self) -> None:
        """Nodes record no more for it; what they have, they keep."""
        self._observations.close(self._observation, self)

    # ------------------------------------------------------------ Listener

    def received(self, exchange: bytes) -> None:
        """Nodes keep it."""

    def missed(self, count: int) -> None:
        """Nodes keep them."""

    def changed(self) -> None:
        """No reader waits for it."""


class _Search:
    """Listens until every node has sent what it has kept."""

    def __init__(self) -> None:
        self.found: list[bytes] = []
        self.news = asyncio.Event()

    def received(self, exchange: bytes) -> None:
        self.found.append(exchange)

    def missed(self, _: int) -> None:
        self.news.set()

    def changed(self) -> None:
        self.news.set()


class Found(msgspec.Struct, frozen=True):
    """exchanges: those that nodes have kept. silent: the nodes that have not answered in time."""

    exchanges: tuple[bytes, ...]
    silent: tuple[str, ...]


class Watching:
    """All watchers and recordings of a controller."""

    def __init__(self, observations: Observations, limits: WatchLimits = WatchLimits()) -> None:
        self.observations, self._limits = observations, limits
        self._watchers: set[Watcher] = set()
        self._recordings: dict[str, Recording] = {}

    def watch(self, exchange_filter: bytes, *, kept: bool, seconds: float, limit: int) -> Watcher:
        """A watcher of exchanges that end from now on; kept: of those that nodes have. `end_watch` it.

        seconds: after which it ends. limit: exchanges after which it ends; 0 for none. Raises `TooManyError`.
        """
        if len(self._watchers) >= self._limits.most_watchers:
            raise TooManyError(f"{self._limits.most_watchers} watch already")
        until, most_bytes = asyncio.get_running_loop().time() + seconds, self._limits.held_bytes
        watcher = Watcher(
            self.observations, exchange_filter, kept=kept, until=until, limit=limit, most_bytes=most_bytes
        )
        self._watchers.add(watcher)
        return watcher

    def end_watch(self, watcher: Watcher) -> None:
        """Its reader is gone, or has all."""
        self._watchers.remove(watcher)
        watcher.close()

    async def find(self, exchange_filter: bytes, seconds: float) -> Found:
        """What nodes have kept, as far as they send it within so many seconds."""
        search = _Search()
        observation = self.observations.open(exchange_filter, search, kept=True)
        try:
            async with asyncio.timeout(seconds):
                while observation.waits_for:
                    search.news.clear()
                    await search.news.wait()
        except TimeoutError:
            pass
        finally:
            self.observations.close(observation, search)
        return Found(tuple(search.found), tuple(sorted(node.id for node in observation.waits_for)))

    def record(self, exchange_filter: bytes, seconds: int) -> Recording:
        """Has nodes keep what fits, for so many seconds. Raises `TooManyError`."""
        if len(self._recordings) >= self._limits.most_recordings:
            raise TooManyError(f"{self._limits.most_recordings} recordings are under way already")
        recording = Recording(self.observations, exchange_filter, seconds)
        self._recordings[recording.id] = recording
        asyncio.get_running_loop().call_later(seconds, self.end_recording, recording.id)
        return recording

    @property
    def recordings(self) -> list[Recording]:
        """Those under way, the oldest first."""
        return list(self._recordings.values())

    def recording(self, recording_id: str) -> Recording | None:
        """One that is under way."""
        return self._recordings.get(recording_id)

    def end_recording(self, recording_id: str) -> bool:
        """Whether there was one."""
        recording = self._recordings.pop(recording_id, None)
        if recording is not None:
            recording.close()
        return recording is not None
