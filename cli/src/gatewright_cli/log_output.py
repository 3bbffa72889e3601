"""Where all log lines of a node leave: one bounded queue, one thread that writes.

The thread is there so that a terminal or a pipe which takes nothing stops neither the supervisor nor its processes.
What does not fit is dropped, and the number of lines dropped is written as soon as there is room.
"""

from __future__ import annotations

import os
import select
import threading
from collections import deque
from collections.abc import Callable
from typing import Literal

from gatewright_cli import records

LogFormat = Literal["text", "json"]
OWN = "supervisor"
MOST_BYTES = 8 * 1024 * 1024
MOST_LINES = 20_000
BATCH = 256


class LogOutput:
    """Writes lines of processes to the file descriptor `fd`. Close it: it has a thread."""

    def __init__(self, fd: int, log_format: LogFormat = "text", colour: bool = False) -> None:
        self._fd = fd
        self._render: Callable[[str, bytes], bytes] = (
            records.as_json if log_format == "json" else lambda name, line: records.as_text(name, line, colour)
        )
        self._waiting: deque[tuple[str, bytes]] = deque()
        self._bytes = self._dropped = 0
        self._closed = self._broken = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="log-output", daemon=True)
        self._thread.start()

    def line(self, component: str, line: bytes) -> None:
        """Takes one line of a process, without its line end. Never blocks, never raises."""
        with self._changed:
            if self._bytes + len(line) > MOST_BYTES or len(self._waiting) >= MOST_LINES:
                self._dropped += 1
                return
            self._waiting.append((component, line))
            self._bytes += len(line)
            self._changed.notify()

    def event(self, message: str, level: str = "info", **fields: object) -> None:
        """Something that the supervisor itself has to say."""
        self.line(OWN, records.event(OWN, message, level, **fields))

    def close(self, seconds: float = 2.0) -> None:
        """Writes what is waiting, as far as it is taken within `seconds`."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(seconds)

    def _run(self) -> None:
        while batch := self._take():
            self._write(b"".join(self._render(component, line) + b"\n" for component, line in batch))

    def _take(self) -> list[tuple[str, bytes]]:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
            self._bytes -= sum(len(line) for _, line in batch)
            if self._dropped:
                lost, self._dropped = self._dropped, 0
                notice = records.event(OWN, "log lines dropped: the output did not take them", "warning", lines=lost)
                batch.append((OWN, notice))
            return batch

    def _write(self, data: bytes) -> None:
        while data and not self._broken:
            try:
                data = data[os.write(self._fd, data) :]
            except BlockingIOError:
                select.select([], [self._fd], [], 1.0)
            except OSError:  # nobody reads any more; the node goes on
                self._broken = True
