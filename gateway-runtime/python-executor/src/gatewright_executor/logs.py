"""JSON lines on stderr, and what a policy prints or logs tied to the policy and the request id.

Outside a policy nothing is tied; inside one, a context variable says whose line it is. An execution that writes
nothing pays for setting that variable, and for no more.
"""

from __future__ import annotations

import io
import json
import logging
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Protocol, TextIO

from gatewright.trace import parse_trace

COMPONENT = "python-executor"
LONGEST = 60_000  # the supervisor cuts what is longer than 64 KiB, and then it is no JSON any more
LEVELS = ("debug", "info", "warning", "error")


class Origin(Protocol):
    """Where a line comes from."""

    partial: str  # what was printed since the last end of line

    @property
    def policy(self) -> str: ...  # name:version
    @property
    def request_id(self) -> str: ...
    @property
    def traceparent(self) -> bytes: ...  # W3C, of its span; empty where it is not traced


class PolicyOrigin:
    """The origin of lines that a policy writes while it is imported or prepared."""

    __slots__ = ("partial", "policy", "request_id", "traceparent")

    def __init__(self, policy: str) -> None:
        self.policy, self.request_id, self.partial, self.traceparent = policy, "", "", b""


current: ContextVar[Origin | None] = ContextVar("current", default=None)


def set_up(level: str = "info", stream: TextIO | None = None) -> None:
    """Makes the root logger write JSON lines to `stream` (default: stderr), and sys.stdout and sys.stderr log."""
    handler = logging.StreamHandler(stream or sys.__stderr__)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(True)
    sys.stdout = Printed("stdout", logging.INFO)
    sys.stderr = Printed("stderr", logging.WARNING)


class JsonFormatter(logging.Formatter):
    """time, level, component, message; then policy, requestId, traceId, spanId, `fields`, logger, and a traceback as
    error, where there are such.

    Time is RFC 3339, UTC, with milliseconds and `Z`. The supervisor passes lines that begin like this as they are.
    """

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC)
            .isoformat(timespec="milliseconds")
            .replace("+00:00", "Z"),
            "level": _level(record.levelno),
            "component": COMPONENT,
            "message": record.getMessage(),
            **_origin(current.get()),
            **{key: value for key, value in getattr(record, "fields", {}).items() if value},
            "logger": record.name,
        }
        if record.exc_info and record.exc_info[1] is not None:
            line["error"] = self.formatException(record.exc_info)
        elif trace := getattr(record, "trace", ""):
            line["error"] = trace
        return _line(line)


def _level(number: int) -> str:
    """A library may have levels of its own between these, and above."""
    names = {logging.ERROR: "error", logging.WARNING: "warning", logging.INFO: "info"}
    return next((name for least, name in names.items() if number >= least), "debug")


def _line(fields: dict[str, str]) -> str:
    """JSON of at most LONGEST bytes: long texts lose their ends, and nothing else is lost with them."""
    text = json.dumps(fields, separators=(",", ":"))
    if len(text) <= LONGEST:
        return text
    cut = {key: _cut(fields[key]) for key in ("message", "error") if key in fields}
    return json.dumps(fields | cut, separators=(",", ":"))


def _cut(text: str) -> str:
    kept = text[: LONGEST // 3]
    while len(json.dumps(kept)) > LONGEST // 3:
        kept = kept[: len(kept) // 2]
    return text if kept == text else f"{kept} [{len(text) - len(kept)} characters cut]"


def _origin(origin: Origin | None) -> dict[str, str]:
    if origin is None:
        return {}
    tied = {"policy": origin.policy, "requestId": origin.request_id}
    if span := parse_trace(origin.traceparent.decode("ascii", "replace")):
        tied |= {"traceId": span.trace_id, "spanId": span.span_id}
    return {key: value for key, value in tied.items() if value}


class Printed(io.TextIOBase):
    """Stands for sys.stdout or sys.stderr: each line that is written becomes a log line."""

    encoding = "utf-8"

    def __init__(self, name: str, level: int) -> None:
        self._log = logging.getLogger(name)
        self._level = level
        self._outside = PolicyOrigin("")

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        origin = current.get() or self._outside
        *lines, origin.partial = (origin.partial + text).split("\n")
        for line in lines:
            self._log.log(self._level, "%s", line)
        return len(text)

    def flush(self) -> None:
        """Lines go out as they end; what is printed without an end goes out when its execution ends."""


def flush_partial(origin: Origin) -> None:
    """Writes what `origin` has printed without an end of line."""
    if origin.partial:
        line, origin.partial = origin.partial, ""
        logging.getLogger("stdout").info("%s", line)
