"""A log line of a process as a record, and a record as a line for people or for machines. It does no I/O.

The form of all log lines: a JSON object that begins with `time` (RFC 3339, UTC, milliseconds, `Z`), `level` (debug,
info, warning, error), `component` and `message`, in this order and without spaces; other members follow.
Anything else that a process writes, also another JSON object, is a message of that process: no process can write lines
of another one. Policies can write everything that the logger of their process can. So a line with a standard member
twice is a message too, and a line with an impossible time gets the time at which it was read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from typing import Literal, TypeAlias, get_args

import click
import msgspec

WIDTH = 18
COLOURS = ("cyan", "magenta", "blue", "green", "yellow", "bright_cyan", "bright_magenta", "bright_blue")
LOUD = {"warning": "yellow", "error": "red"}
LogLevel: TypeAlias = Literal["debug", "info", "warning", "error"]
LEVELS: tuple[LogLevel, ...] = get_args(LogLevel)
OTHER_LEVELS = {"trace": "debug", "warn": "warning", "critical": "error", "fatal": "error", "panic": "error"}
STANDARD = ("time", "level", "component", "message")
NAMES = tuple(f'"{name}"'.encode() for name in STANDARD)
ESCAPED = b"\\u00"
"""The beginning of an escaped letter in one of these names."""
TIME_AT = len('{"time":"')
LONGEST_SECONDS = 10.0
"""The longest time from writing to reading a line: a pause, and a busy machine."""
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")
PLAIN_VALUE = re.compile(r'[^\s"=]+')
IN_MESSAGE = ("method", "path", "status")
"""The members of an access line that its message for people consists of."""

Fields = dict[str, object]


@dataclass(frozen=True)
class Source:
    """The process that writes a line: its name in the node, and its component name in its own lines."""

    process: str
    named: str = ""

    @property
    def component(self) -> str:
        """The `component` of the process's own lines."""
        return self.named or self.process


@dataclass(frozen=True)
class Record:
    """A log line. fields: the members besides time, level, component and message, in their order."""

    component: str
    message: str
    level: str = "info"
    time: str = ""
    fields: Fields = field(default_factory=dict)


def now() -> str:
    """RFC 3339, UTC, milliseconds."""
    return _stamp(datetime.now(UTC))


def _stamp(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse(source: Source, line: bytes, now: str) -> Record:
    """A line in the form of all log lines as its record, anything else as a message.

    Bytes that are not UTF-8 are written as \\xNN: no line is refused. now: when the line was read; it replaces a
    missing time, and one at which the line cannot have been written.
    """
    begins = _beginning(source.component).match(line)
    members = _json_object(line) if begins else None
    if begins is None or members is None:
        process = {"process": source.process} if source.process != source.component else {}
        return Record(source.component, line.decode("utf-8", "backslashreplace"), time=now, fields=dict(process))
    return _record(source.component, _time(begins, now), begins["level"].decode(), members)


def is_record(source: Source, line: bytes) -> bool:
    """Whether a line begins in the form of all log lines, as one of this source's component."""
    return _beginning(source.component).match(line) is not None


def as_json(source: Source, line: bytes, now: str) -> bytes:
    """The line for a machine: one in the right form passes unchanged, except for an impossible time. now: see parse."""
    begins = _beginning(source.component).match(line)
    if begins and begins["level"].decode() in LEVELS and _has_each_name_once(line) and _is_json(line):
        time = _time(begins, now)
        return line if time == begins["time"].decode() else line[:TIME_AT] + time.encode() + line[begins.end("time") :]
    return _encode(parse(source, line, now))


def as_text(source: Source, line: bytes, colour: bool, now: str) -> bytes:
    """The line for a person: `12:34:56.789Z component │ message key=value`.

    The prefix has the time of writing in UTC, or else `now`, and the process that wrote the line.
    Texts of several lines, as the traceback of an exception, follow below, indented.
    """
    record = parse(source, line, now)
    several = {key: value for key, value in record.fields.items() if isinstance(value, str) and "\n" in value}
    words = [
        f"{key}={_value(value)}"
        for key, value in record.fields.items()
        if key not in several and (key, value) != ("process", source.process) and value not in (None, "")
    ]
    first, *rest = _message(record, colour).split("\n")
    head = " ".join([_clock(record.time), _prefix(source.process, colour), first, *words])
    below = [*rest, *(part for value in several.values() for part in _visible(str(value)).rstrip("\n").split("\n"))]
    return _join(head, below, colour)


def access_as_text(line: bytes, colour: bool) -> bytes:
    """A line of Envoy's access log for a person: `12:34:56.789Z access │ GET /path 200 key=value`."""
    members = _json_object(line)
    if members is None:
        return as_text(Source("access"), line, colour, now())
    message = " ".join(_visible(str(members[key])) for key in IN_MESSAGE if key in members)
    rest = [(key, value) for key, value in members.items() if key not in (*STANDARD, *IN_MESSAGE)]
    words = [f"{key}={_value(value)}" for key, value in rest if value not in (None, "", "-")]
    head = " ".join([_clock(str(members.get("time", ""))), _prefix("access", colour), message, *words])
    return _join(head, [], colour)


def event(component: str, message: str, level: str = "info", **fields: object) -> bytes:
    """A line in the form of all log lines, as a process named `component` would write it."""
    return _encode(Record(component, message, level, now(), fields))


@cache
def _beginning(component: str) -> re.Pattern[bytes]:
    """The beginning of lines in the form of all log lines by this component."""
    return re.compile(
        rb'\{"time":"(?P<time>\d{4}-\d\d-\d\dT\d\d:[0-5]\d:[0-5]\d\.\d{3}Z)","level":"(?P<level>[a-z]+)",'
        rb'"component":"' + re.escape(component.encode()) + rb'","message":"'
    )


def _time(begins: re.Match[bytes], now: str) -> str:
    """The line's own time, if it is a short while before it was read; else `now`."""
    written = begins["time"].decode()
    return written if _earliest(now) <= written <= now else now


@lru_cache(maxsize=1)
def _earliest(now: str) -> str:
    return _stamp(datetime.fromisoformat(now) - timedelta(seconds=LONGEST_SECONDS))


def _has_each_name_once(line: bytes) -> bool:
    """Whether each standard name occurs once, unescaped, so that no other member can be mistaken for one."""
    return ESCAPED not in line and all(line.count(name) == 1 for name in NAMES)


def _record(component: str, time: str, level: str, members: Fields) -> Record:
    rest = {key: value for key, value in members.items() if key not in STANDARD}
    level = level if level in LEVELS else OTHER_LEVELS.get(level, "info")
    return Record(component, str(members["message"]), level, time, rest)


def _encode(record: Record) -> bytes:
    time, fields = record.time or now(), record.fields
    standard: Fields = {"time": time, "level": record.level, "component": record.component, "message": record.message}
    return msgspec.json.encode(standard | fields)


def _json_object(line: bytes) -> Fields | None:
    if not line.startswith(b"{"):
        return None
    try:
        return msgspec.json.decode(line, type=Fields)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None


def _is_json(line: bytes) -> bool:
    try:
        msgspec.json.decode(line, type=msgspec.Raw)  # checks the form, not the content of strings
        return line.isascii() or bool(line.decode())
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return False


def _clock(time: str) -> str:
    try:
        at = datetime.fromisoformat(time).astimezone(UTC)
    except (ValueError, OverflowError):
        at = datetime.now(UTC)
    return f"{at:%H:%M:%S}.{at.microsecond // 1000:03}Z"


@cache
def _prefix(component: str, colour: bool) -> str:
    prefix = f"{component:<{WIDTH}} │"
    return click.style(prefix, fg=COLOURS[sum(component.encode()) % len(COLOURS)]) if colour else prefix


def _join(head: str, below: list[str], colour: bool) -> bytes:
    """The head, and lines below it that are indented and marked, so that they cannot look like another record."""
    indent = " " * len("12:34:56.789Z ") + _prefix("", colour)
    return "\n".join([head, *(f"{indent}   {part}" for part in below)]).encode("utf-8", "backslashreplace")


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
    return CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", text)
