"""The pipe that a process writes its output into, read in large pieces and cut into lines."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from collections.abc import Callable

from gatewright_cli.supervision.logs.lines import LineSplitter

PIPE_BYTES = 1024 * 1024
READ_BYTES = 256 * 1024
PAUSE_SECONDS = 0.05
MOST_LAST_READS = 64

OnLines = Callable[[list[bytes]], None]


class OutputPipe:
    """Needs a running event loop. Give `write_end` to the process and close it here; `read_to_end` closes the other.

    The first line is read as soon as it arrives, later ones together after a pause: a wake-up for each line costs far
    more than the line itself. A writer that fills the pipe meanwhile is read without a pause.
    """

    def __init__(self, on_lines: OnLines) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_lines, self._splitter = on_lines, LineSplitter()
        self._pause: asyncio.TimerHandle | None = None
        self._output, self.write_end = os.pipe()
        os.set_blocking(self._output, False)
        with contextlib.suppress(OSError):  # over the user's limit: the usual 64 KiB do as well
            fcntl.fcntl(self.write_end, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self._large_read = min(READ_BYTES, fcntl.fcntl(self.write_end, fcntl.F_GETPIPE_SZ) // 2)
        self._loop.add_reader(self._output, self._on_readable)

    def read_to_end(self) -> None:
        """Passes on what the process wrote, to the last byte, and closes the pipe."""
        for _ in range(MOST_LAST_READS):  # bounded: a process outside of the group may hold the pipe and go on writing
            if not self._read():
                break
        self._emit(self._splitter.finish())
        self.close()

    def close(self) -> None:
        """Closes the reading end; what is still in the pipe is lost."""
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove_reader(self._output)
        os.close(self._output)

    def _on_readable(self) -> None:
        amount = self._read()
        if amount is None or amount >= self._large_read:
            return
        self._loop.remove_reader(self._output)
        if amount:
            self._pause = self._loop.call_later(PAUSE_SECONDS, self._resume)

    def _resume(self) -> None:
        self._pause = None
        self._loop.add_reader(self._output, self._on_readable)

    def _read(self) -> int | None:
        """The number of bytes read: 0 at the end, None if there are none now."""
        try:
            piece = os.read(self._output, READ_BYTES)
        except BlockingIOError:
            return None
        self._emit(self._splitter.feed(piece))
        return len(piece)

    def _emit(self, lines: list[bytes]) -> None:
        if lines:
            self._on_lines(lines)
