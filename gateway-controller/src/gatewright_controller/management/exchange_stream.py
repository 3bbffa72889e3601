"""The exchanges of a watcher as a streamed response: server-sent events, or a JSON object on each line.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator

import msgspec
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.types import Send

from gatewright_controller.management.problems import Problem
from gatewright_controller.nodes.watching import Taken, Watcher

TOGETHER_SECONDS = 0.02
"""What comes within this time of other exchanges goes out in one piece, for pieces cost the controller more."""
SERVER_SENT_EVENTS = "text/event-stream"
JSON_LINES = "application/x-ndjson"
SSE_ACCEPTED = frozenset({SERVER_SENT_EVENTS, "text/*", "*/*", ""})
HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}

Encode = Callable[[str, bytes], bytes]
"""What happened, and what is to be said of it as JSON → bytes of the stream."""


def as_event(event: str, data: bytes) -> bytes:
    """A server-sent event. A line break in JSON stands between values only, and would end the event's line."""
    line = data.replace(b"\r", b" ").replace(b"\n", b" ")
    return b"event: %s\ndata: %s\n\n" % (event.encode(), line)


def as_json_line(event: str, data: bytes) -> bytes:
    """`{"EVENT": DATA}` and a line break."""
    line = data.replace(b"\r", b" ").replace(b"\n", b" ")
    return b'{"%s":%s}\n' % (event.encode(), line)


FORMATS: dict[str, tuple[Encode, bytes]] = {
    SERVER_SENT_EVENTS: (as_event, b": keep-alive\n\n"),
    JSON_LINES: (as_json_line, b"\n"),
}
"""By media type, with what says that there is nothing new."""


def media_type_for(request: Request) -> str:
    """What the client accepts; server-sent events where it does not say. Raises `Problem`."""
    accepted = {
        media_range.partition(";")[0].strip().lower() for media_range in request.headers.get("accept", "").split(",")
    }
    if JSON_LINES in accepted:
        return JSON_LINES
    if accepted & SSE_ACCEPTED:
        return SERVER_SENT_EVENTS
    raise Problem(406, f"expected a client that accepts {SERVER_SENT_EVENTS} or {JSON_LINES}")


class ExchangeStream(StreamingResponse):
    """Ends when the watcher does, or with the client. on_end: called once, however it ends.

    keep_alive_seconds: the time without news after which the client is sent a sign of life.
    """

    def __init__(
        self, watcher: Watcher, media_type: str, keep_alive_seconds: float, on_end: Callable[[], None]
    ) -> None:
        self._watcher, self._keep_alive_seconds, self._on_end = watcher, keep_alive_seconds, on_end
        self._encode, self._nothing = FORMATS[media_type]
        super().__init__(self._chunks(), headers=HEADERS, media_type=media_type)

    async def stream_response(self, send: Send) -> None:
        """As starlette's, which leaves it to the garbage collector to end what is cancelled."""
        try:
            await super().stream_response(send)
        finally:
            self._on_end()

    async def _chunks(self) -> AsyncIterator[bytes]:
        while True:
            taken = await self._watcher.take(self._keep_alive_seconds)
            yield b"".join(self._encoded(taken)) or self._nothing
            if taken.ended:
                return
            if taken.exchanges:
                await asyncio.sleep(TOGETHER_SECONDS)

    def _encoded(self, taken: Taken) -> Iterator[bytes]:
        if taken.nodes is not None:
            yield self._encode("nodes", msgspec.json.encode(taken.nodes))
        if taken.dropped:
            yield self._encode("dropped", msgspec.json.encode({"exchanges": taken.dropped}))
        for exchange in taken.exchanges:
            yield self._encode("exchange", exchange)
        if taken.ended:
            yield self._encode("ended", msgspec.json.encode({"reason": taken.ended}))
