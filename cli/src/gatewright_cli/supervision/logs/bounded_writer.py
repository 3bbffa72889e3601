"""Writes to a file descriptor in a thread of its own, from a bounded queue, so that the caller never blocks.

A terminal or a pipe that is not read would else block the supervisor, and with it the processes that it watches. Lines
that do not fit are dropped and counted, and their number is reported as soon as there is room again.
"""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable

MOST_BYTES = 8 * 1024 * 1024
BATCH_BYTES = 256 * 1024


class BoundedWriter:
    """Close it: it has a thread.

    lost: called by that thread with the number of dropped lines; the text that it returns is written in their place.
    lock: held while a batch is written; writers to the same file share one, or their lines would mix. max_bytes: of the
    queue.
    """

    def __init__(
        self, fd: int, lost: Callable[[int], bytes], lock: threading.Lock, max_bytes: int = MOST_BYTES
    ) -> None:
        self._fd, self._lost, self._lock, self._max_bytes = fd, lost, lock, max_bytes
        self._waiting: list[bytes] = []
        self._bytes = self._dropped = 0
        self._closed = self._broken = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=f"write-{fd}", daemon=True)
        self._thread.start()

    @property
    def is_full(self) -> bool:
        """Whether a line written now would be dropped."""
        return self._bytes >= self._max_bytes or self._broken

    def write(self, data: bytes, lines: int) -> None:
        """Queues `data`, whole lines, or drops it. Never blocks, never raises."""
        with self._changed:
            if self.is_full:
                self._dropped += lines
                return
            self._waiting.append(data)
            self._bytes += len(data)
            self._changed.notify()

    def drop(self, lines: int) -> None:
        """Counts lines that the caller did not render, since there is no room for them."""
        with self._changed:
            self._dropped += lines

    def close(self, seconds: float) -> None:
        """Writes the queue, as far as the descriptor accepts it within `seconds`."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(seconds)

    def _run(self) -> None:
        while data := self._next_batch():
            with self._lock:
                self._write(data)

    def _next_batch(self) -> bytes:
        """The next batch; empty once the writer is closed and the queue is empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            amount = size = 0
            while amount < len(self._waiting) and size < BATCH_BYTES:
                size += len(self._waiting[amount])
                amount += 1
            batch, self._waiting = self._waiting[:amount], self._waiting[amount:]
            self._bytes -= size
            dropped, self._dropped = self._dropped, 0
        if dropped:
            batch.append(self._lost(dropped))
        return b"".join(batch)

    def _write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest and not self._broken:
            try:
                rest = rest[os.write(self._fd, rest) :]
            except BlockingIOError:
                select.select([], [self._fd], [], 1.0)
            except OSError:  # the reader is gone; the node goes on
                self._broken = True
