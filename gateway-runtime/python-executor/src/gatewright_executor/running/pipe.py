"""A pipe: what a stream yields, given to the stream behind it without a way through the engine.

Both streams live on one event loop, and all of it happens there.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

WINDOW_BYTES = 256 << 10  # that a sender may send before its reader takes them
PIECE_BYTES = 64 << 10  # the most of one piece


class Reader(Protocol):
    """The stream that takes from a pipe."""

    chunk_waiter: asyncio.Future[None] | None
    has_ended: bool


class Pipe:
    """Holds the chunks that were yielded and not taken. ahead: bytes that the engine still passes to the reader first,
    since the source has yielded them before there was a pipe."""

    __slots__ = ("_chunks", "_reader", "_size", "ahead")

    def __init__(self, reader: Reader, ahead: int) -> None:
        self._reader = reader
        self.ahead = ahead
        self._chunks: list[bytes] = []
        self._size = 0  # of all chunks

    @property
    def has_room(self) -> bool:
        """Whether the source may yield more. After the reader's end it waits until the engine cancels it."""
        return self._size < WINDOW_BYTES and not self._reader.has_ended

    @property
    def has_chunk(self) -> bool:
        """Whether there is a chunk whose turn has come."""
        return not self.ahead and bool(self._chunks)

    def put(self, chunk: bytes) -> None:
        """Adds a chunk of any size, for which there is room."""
        if chunk:
            self._chunks.append(chunk)
            self._size += len(chunk)
            resolve(self._reader.chunk_waiter)

    def take(self) -> bytes:
        """Takes a chunk. The caller has checked `has_chunk`, and wakes the source."""
        chunk = take_joined(self._chunks)
        self._size -= len(chunk)
        return chunk


def take_joined(chunks: list[bytes]) -> bytes:
    """Removes the first chunk from the list, and returns it joined with those behind it, up to PIECE_BYTES in all.
    Another thread may append meanwhile."""
    size, count = len(chunks[0]), 1
    for data in chunks[1:]:
        if size + len(data) > PIECE_BYTES:
            break
        size, count = size + len(data), count + 1
    taken = chunks[:count]
    del chunks[:count]
    return taken[0] if count == 1 else b"".join(taken)


def resolve(waiter: asyncio.Future[None] | None) -> None:
    """Wakes the task that awaits a future, if there is one. On its loop."""
    if waiter is not None and not waiter.done():
        waiter.set_result(None)
