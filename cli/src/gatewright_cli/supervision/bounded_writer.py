"""Writes to a file descriptor by a thread of its own, from a bounded queue: who writes is never stopped.

A terminal or a pipe that takes nothing would else stop the supervisor, and with it all that it watches. What does not
fit is dropped and counted in lines, and the number is told as soon as there is room again.
"""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable

MOST_BYTES = 8 * 1024 * 1024
BATCH_BYTES = 256 * 1024


class BoundedWriter:
    """Close it: it has a thread. `lost` is called by that thread with the number of lines dropped; what it returns is
    written in their place. turn: held while lines are written, by all writers that may have the same file, for one that
    waits for room in the middle of a line would let another one in. most: bytes that may wait."""

    def __init__(self, fd: int, lost: Callable[[int], bytes], turn: threading.Lock, most: int = MOST_BYTES) -> None:
        self._fd, self._lost, self._turn, self._most = fd, lost, turn, most
        self._waiting: list[bytes] = []
        self._bytes = self._dropped = 0
        self._closed = self._broken = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=f"write-{fd}", daemon=True)
        self._thread.start()

    @property
    def is_full(self) -> bool:
        """Whether what is written now would be dropped."""
        return self._bytes >= self._most or self._broken

    def write(self, data: bytes, lines: int) -> None:
        """Takes `data`, whole lines, or drops it. Never blocks, never raises."""
        with self._changed:
            if self.is_full:
                self._dropped += lines
                return
            self._waiting.append(data)
            self._bytes += len(data)
            self._changed.notify()

    def drop(self, lines: int) -> None:
        """Counts lines that were not even rendered, since there is no room for them."""
        with self._changed:
            self._dropped += lines

    def close(self, seconds: float) -> None:
        """Writes what is waiting, as far as it is taken within `seconds`."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(seconds)

    def _run(self) -> None:
        while data := self._take():
            with self._turn:
                self._write(data)

    def _take(self) -> bytes:
        """Empty once it is closed and nothing waits any more."""
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
            except OSError:  # nobody reads any more; the node goes on
                self._broken = True
