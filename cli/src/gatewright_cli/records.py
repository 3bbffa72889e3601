"""A log line of a process as a record, and a record as a line for people or for machines. Knows no file."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime

import click
import msgspec

WIDTH = 18
COLOURS = ("cyan", "magenta", "blue", "green", "yellow", "bright_cyan", "bright_magenta", "bright_blue")
LOUD = {"warn": "yellow", "warning": "yellow", "error": "red", "critical": "red", "fatal": "red", "panic": "red"}
OWN_NAMES = ("policy-engine", "python-executor")  # what engine and executors call themselves
STANDARD = ("time", "level", "component", "message")
CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")
PLAIN_VALUE = re.compile(r'[^\s"=]+')

Fields = dict[str, object]


@dataclass(frozen=True)
class Record:
    """`fields` holds what came beside time, level, component and message, in the order in which it came."""

    component: str
    message: str
    level: str = "info"
    time: str = ""
    fields: Fields = field(default_factory=dict)


def now() -> str:
    """RFC 3339, UTC, milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse(component: str, line: bytes) -> Record:
    """A line of `component`: a JSON object as the record that it is, anything else as a message.

    Bytes that are not UTF-8 are written as \\xNN: no line is refused.
    """
    found = _json_object(line)
    if found is None:
        return Record(component, line.decode("utf-8", "backslashreplace"))
    rest = {key: value for key, value in found.items() if key not in STANDARD}
    level, message = str(found.get("level", "info")).lower(), str(found.get("message", ""))
    return Record(str(found.get("component", component)), message, level, str(found.get("time", "")), rest)


def as_json(component: str, line: bytes) -> bytes:
    """The line for a machine: a JSON object that names its time and component passes as it is."""
    found = _json_object(line)
    if found is not None and "component" in found and "time" in found:
        return line
    return _encode(parse(component, line))


def as_text(component: str, line: bytes, colour: bool) -> bytes:
    """The line for a person: `12:34:56.789Z component │ message key=value`.

    The prefix names the process that wrote it, and the time, in UTC, at which it did; where it does not say, now.
    """
    record = parse(component, line)
    words = [_message(record, colour)]
    if record.component not in (component, *OWN_NAMES):
        words.append(f"component={record.component}")
    words += [f"{key}={_value(value)}" for key, value in record.fields.items() if value not in (None, "")]
    return f"{_clock(record.time)} {_prefix(component, colour)} {' '.join(words)}".encode("utf-8", "backslashreplace")


def event(component: str, message: str, level: str = "info", **fields: object) -> bytes:
    """A record of our own, as the line that a process named `component` would have written."""
    return _encode(Record(component, message, level, now(), fields))


def _encode(record: Record) -> bytes:
    time, fields = record.time or now(), record.fields
    standard: Fields = {"time": time, "level": record.level, "component": record.component, "message": record.message}
    return msgspec.json.encode(standard | fields)


def _json_object(line: bytes) -> Fields | None:
    if not line.startswith(b"{"):
        return None
    try:
        return msgspec.json.decode(line, type=Fields)
    except (msgspec.DecodeError, RecursionError):
        return None


def _clock(time: str) -> str:
    try:
        at = datetime.fromisoformat(time).astimezone(UTC)
    except (ValueError, OverflowError):
        at = datetime.now(UTC)
    return f"{at:%H:%M:%S}.{at.microsecond // 1000:03}Z"


def _prefix(component: str, colour: bool) -> str:
    prefix = f"{component:<{WIDTH}} │"
    return click.style(prefix, fg=COLOURS[sum(component.encode()) % len(COLOURS)]) if colour else prefix


def _message(record: Record, colour: bool) -> str:
    message = _visible(record.message)
    if record.level not in LOUD:
        return message
    word = record.level.upper()
    return f"{click.style(word, fg=LOUD[record.level], bold=True) if colour else word} {message}"


def _value(value: object) -> str:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return _visible(text) if PLAIN_VALUE.fullmatch(text) or not isinstance(value, str) else _visible(repr(text))


def _visible(text: str) -> str:
    """Control characters spelled out: a client's header must not steer the operator's terminal."""
    return CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)
