"""JSON lines on stderr. Lines that a policy prints or logs name the policy and the request id.

A context variable holds the origin of lines while a policy's code runs. An execution that writes no line costs only the
setting of that variable.
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
LONGEST = 60_000  # the supervisor cuts lines at 64 KiB, after which they are no JSON
LEVELS = ("debug", "info", "warning", "error")


class Origin(Protocol):
    """The origin of a log line."""

    partial: str  # text printed since the last end of line

    @property
    def policy(self) -> str: ...  # name:version
    @property
    def request_id(self) -> str: ...
    @property
    def traceparent(self) -> bytes: ...  # of the execution's span (W3C); empty if it is not traced


class PolicyOrigin:
    """The origin of lines that a policy writes outside of executions, for instance while it is imported."""

    __slots__ = ("partial", "policy", "request_id", "traceparent")

    def __init__(self, policy: str) -> None:
        self.policy, self.request_id, self.partial, self.traceparent = policy, "", "", b""


current: ContextVar[Origin | None] = ContextVar("current", default=None)


def running_policy() -> str:
    """The policy whose code is running, name:version; "" if none is."""
    origin = current.get()
    return origin.policy if origin is not None else ""


def set_up(level: str = "info", stream: TextIO | None = None) -> None:
    """Makes the root logger write JSON lines to `stream` (default: stderr), and sys.stdout and sys.stderr log."""
    handler = logging.StreamHandler(stream or sys.__stderr__)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(True)
    sys.stdout = Printed("stdout", logging.INFO)
    sys.stderr = Printed("stderr", logging.WARNING)


def set_level(level: str) -> None:
    """Sets the level of loggers without a level of their own: debug, info, warning or error. Raises ValueError."""
    if level not in LEVELS:
        raise ValueError(f"expected one of {', '.join(LEVELS)}, got {level!r}")
    logging.getLogger().setLevel(level.upper())


class JsonFormatter(logging.Formatter):
    """Writes time, level, component, message; then, if there are any, policy, requestId, traceId, spanId, `fields`,
    logger, and a traceback as error.

    The time is RFC 3339, UTC, with milliseconds and `Z`. The supervisor passes on lines of this form unchanged.
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
    """The name of the level. A library may have levels of its own between the standard ones, and above."""
    names = {logging.ERROR: "error", logging.WARNING: "warning", logging.INFO: "info"}
    return next((name for least, name in names.items() if number >= least), "debug")


def _line(fields: dict[str, str]) -> str:
    """The fields as JSON of at most LONGEST bytes: long texts are cut at their ends."""
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
    """Replaces sys.stdout or sys.stderr: each line that is written becomes a log line."""

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
        """Does nothing: a line is logged when it ends, or when its execution ends."""


def flush_partial(origin: Origin) -> None:
    """Logs the text that `origin` has printed without an end of line."""
    if origin.partial:
        line, origin.partial = origin.partial, ""
        logging.getLogger("stdout").info("%s", line)
