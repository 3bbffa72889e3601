"""The exchange of a request that the controller sends itself: nodes record it, and it is found by its client.

A client is an address and a port, and these are one connection's: nothing is added to the request for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator

import msgspec

from gatewright_controller.nodes.observations import Observations
from gatewright_controller.nodes.watching import Watching
from gatewright_controller.resource.exchange_filter import ExchangeFilter

NO_POLICY = "no policy runs for it, so no exchange is recorded; the access log has its request id"
NOT_REPORTED = (
    "no node has reported it within {seconds:g} s: no policy ran, it is still under way, or a trusted proxy "
    "(spec.trustedProxies) named another client; the access log has its request id"
)


class RecordingTimes(msgspec.Struct, frozen=True):
    """How long nodes are waited for."""

    begin_seconds: float = 2.0
    """Until they record."""
    end_seconds: float = 3.0
    """After the answer, until the exchange ends."""


class _Exchange(msgspec.Struct):
    id: str = ""


class RecordedRequest(msgspec.Struct, frozen=True):
    """recorded: nodes have its exchange, with the request id. why: where they have not, for people."""

    recorded: bool = False
    request_id: str = ""
    why: str = ""


class RequestRecording:
    """Listens for the one exchange of a connection, which has no other."""

    def __init__(self, observations: Observations, client: str, times: RecordingTimes) -> None:
        self._observations, self._times = observations, times
        self._exchange: bytes | None = None
        self._news, self._nodes_changed = asyncio.Event(), asyncio.Event()
        self._observation = observations.open(ExchangeFilter(client=client).encoded(), self)

    async def begun(self) -> None:
        """Returns once every node that can record has begun to."""
        while any(node.state == "connecting" for node in self._observations.nodes(self._observation)):
            self._nodes_changed.clear()
            await self._nodes_changed.wait()

    def close(self) -> None:
        """Nodes record no more for it; what they have, they keep."""
        self._observations.close(self._observation, self)

    async def found(self, *, expected: bool) -> RecordedRequest:
        """What has become of it, once its answer is there. expected: policies may run for it."""
        unable, seconds = self._unable(), self._times.end_seconds
        if expected and not unable:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._news.wait()
        if self._exchange is None:
            return RecordedRequest(why=unable or (NOT_REPORTED.format(seconds=seconds) if expected else NO_POLICY))
        return RecordedRequest(recorded=True, request_id=msgspec.json.decode(self._exchange, type=_Exchange).id)

    def _unable(self) -> str:
        """Why no node reports exchanges; "" if one does."""
        nodes = self._observations.nodes(self._observation)
        if any(node.state in ("observed", "connecting") for node in nodes):
            return ""
        return "; ".join(f"{node.id}: {node.reason}" for node in nodes) or "no node is connected"

    # ------------------------------------------------------------ Listener

    def received(self, exchange: bytes) -> None:
        """The first is it."""
        self._exchange = self._exchange or exchange
        self._news.set()

    def missed(self, count: int) -> None:
        """A node was too slow; it keeps what it has recorded."""

    def changed(self) -> None:
        """Nodes come and go."""
        self._nodes_changed.set()


@contextlib.asynccontextmanager
async def recording(watching: Watching, client: str, times: RecordingTimes) -> AsyncIterator[RequestRecording]:
    """Nodes record what comes from this client (IP:PORT), from here on: they have said so, or had 2 s twice."""
    found = RequestRecording(watching.observations, client, times)
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(times.begin_seconds):
                await found.begun()
        # a node takes what it is asked in order: a node that answers this one records, or has said why it does not
        await watching.find(ExchangeFilter(id=secrets.token_hex(8)).encoded(), times.begin_seconds)
        yield found
    finally:
        found.close()
