"""JSON lines on stderr: time, level, component, message, then what a call gave as `extra`, and `error`, a traceback.

Time is RFC 3339, UTC, with milliseconds and `Z`; levels are debug, info, warning and error. The supervisor passes lines
that begin like this as they are.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

log = logging.getLogger(__name__)
COMPONENT = "controller"
LEVELS = ("debug", "info", "warning", "error")
OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}


class JsonLines(logging.Formatter):
    """One record, one line."""

    def format(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = {"time": when, "level": _level(record.levelno), "component": COMPONENT, "message": record.getMessage()}
        line |= {key: value for key, value in vars(record).items() if key not in OWN}
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, separators=(",", ":"), default=str)


def _level(number: int) -> str:
    names = {logging.ERROR: "error", logging.WARNING: "warning", logging.INFO: "info"}
    return next((name for least, name in names.items() if number >= least), "debug")


def set_up() -> None:
    """All that this process says: logging, warnings, and uncaught exceptions."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.captureWarnings(True)
    sys.excepthook = lambda kind, error, trace: log.critical("failed", exc_info=(kind, error, trace))
    for noisy in ("uvicorn", "asyncio", "httpx", "httpcore"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def set_level(level: str) -> None:
    """Of all lines but those of libraries that are noisy. level: one of LEVELS."""
    logging.getLogger().setLevel(level.upper())


def current_level() -> str:
    """One of LEVELS."""
    return _level(logging.getLogger().getEffectiveLevel())
