"""The output of a node: log lines on one file descriptor, the access log on another."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from typing import Literal

from gatewright_cli.supervision.logs import records
from gatewright_cli.supervision.logs.bounded_writer import BoundedWriter
from gatewright_cli.supervision.logs.files import LogFiles
from gatewright_cli.supervision.logs.records import LogLevel, Source

LogFormat = Literal["text", "json"]
OWN = Source("supervisor")
ACCESS = Source("access")


class LogOutput:
    """Writes lines of processes to `fd`, and those of the access log to `access_fd` (default: `fd` as well).

    Lines come in batches, as they were read; those already in the form of log lines pass unchanged.
    level: the lowest level of the supervisor's own events that is written. shown: redacts a line. export: called with
    all lines as JSON, and their number; None: they are not exported. files: the files that the output goes to, if any.
    Close it: it has a thread for each file descriptor.
    """

    shown: Callable[[bytes], bytes] = staticmethod(lambda line: line)
    export: Callable[[bytes, int], None] | None = None

    def __init__(
        self,
        fd: int,
        log_format: LogFormat = "text",
        colour: bool = False,
        access_fd: int | None = None,
        level: LogLevel = "info",
    ) -> None:
        self.set_level(level)
        self._is_text, self._colour = log_format == "text", colour
        access_fd = fd if access_fd is None else access_fd
        self.files = LogFiles(sorted({fd, access_fd}))
        lock = threading.Lock()
        access_lock = lock if _is_same_file(fd, access_fd) else threading.Lock()
        self._log = BoundedWriter(fd, self._report_lost, lock)
        self._access = BoundedWriter(access_fd, self._report_lost_access, access_lock)

    def set_level(self, level: LogLevel) -> None:
        """Sets the lowest level of the supervisor's own events that is written from now on."""
        self._levels = records.LEVELS[records.LEVELS.index(level) :]

    def relay(self, source: Source, lines: Sequence[bytes]) -> None:
        """Writes lines of a process, given without their ends. Never blocks, never raises."""
        lines = [*map(self.shown, lines)]
        if (export := self.export) is not None:
            now = records.now()
            export(b"".join(records.as_json(source, line, now) + b"\n" for line in lines), len(lines))
        if self._log.is_full:
            self._log.drop(len(lines))
        else:
            self._log.write(self._render(source, lines), len(lines))

    def relay_access(self, lines: Sequence[bytes]) -> None:
        """Writes lines of Envoy's access log. Never blocks, never raises."""
        if (export := self.export) is not None:
            export(b"\n".join([*lines, b""]), len(lines))
        if self._access.is_full:
            self._access.drop(len(lines))
        elif self._is_text:
            text = b"".join(records.access_as_text(line, self._colour) + b"\n" for line in lines)
            self._access.write(text, len(lines))
        else:
            self._access.write(b"\n".join([*lines, b""]), len(lines))

    def event(self, message: str, level: str = "info", **fields: object) -> None:
        """Logs a record of the supervisor's own. level: debug, info, warning or error; fields: as JSON takes them."""
        if level in self._levels:
            self.relay(OWN, [records.event(OWN.component, message, level, **fields)])

    def close(self, seconds: float = 2.0) -> None:
        """Writes the queues, as far as the descriptors accept them within `seconds`."""
        self._access.close(seconds)
        self._log.close(seconds)

    def _render(self, source: Source, lines: Sequence[bytes]) -> bytes:
        now = records.now()
        if self._is_text:
            return b"".join(records.as_text(source, line, self._colour, now) + b"\n" for line in lines)
        return b"".join(records.as_json(source, line, now) + b"\n" for line in lines)

    def _report_lost(self, lines: int) -> bytes:
        event = records.event(OWN.component, "log lines dropped: the output did not take them", "warning", lines=lines)
        return self._render(OWN, [event])

    def _report_lost_access(self, lines: int) -> bytes:
        self.event("access log lines dropped: the output did not take them", "warning", lines=lines)
        return b""


def _is_same_file(fd: int, other: int) -> bool:
    """Whether both descriptors write to the same file, as with `2>&1`."""
    try:
        return os.path.sameopenfile(fd, other)
    except OSError:
        return False
