"""Parses the header fields about freshness: Cache-Control, ages and dates."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from sdk import clock

DIRECTIVE = re.compile(
    r"""[\s,]*+([!#$%&'*+.^_`|~0-9A-Za-z-]++)(?:=(?:"((?:[^"\\]|\\.)*+)"|([^\s",]*+)))?+\s*+(?:,|$)"""
)  # possessive, so that matching takes linear time
CONTRADICTION = "\x00"
"""A directive that is added if two of the same name differ, or a line is no list of directives."""


MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH = f"(?P<month>{'|'.join(MONTHS)})"
_TIME = "(?P<hour>[01][0-9]|2[0-3]):(?P<minute>[0-5][0-9]):(?P<second>[0-5][0-9]|60)"
DATES = (
    re.compile(f"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), (?P<day>[0-9]{{2}}) {_MONTH} (?P<year>[0-9]{{4}}) {_TIME} GMT"),
    re.compile(
        f"(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day, (?P<day>[0-9]{{2}})-{_MONTH}-(?P<year>[0-9]{{2}}) {_TIME} GMT"
    ),
    re.compile(f"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) {_MONTH} (?P<day>[0-9]{{2}}| [0-9]) {_TIME} (?P<year>[0-9]{{4}})"),
)
"""The formats of an HTTP date, all of them UTC: IMF-fixdate, that of RFC 850, and that of asctime (RFC 9110, 5.6.7)."""


def directives(lines: list[str]) -> dict[str, str]:
    """The directives of Cache-Control (RFC 9111, 5.2), by their names in lower case."""
    values: dict[str, str] = {}
    for line in lines:
        at = 0
        while part := DIRECTIVE.match(line, at):
            name, value = part[1].lower(), part[2] if part[2] is not None else part[3] or ""
            if values.setdefault(name, value) != value:
                values[CONTRADICTION] = ""
            at = part.end()
        if line[at:].strip(" \t,"):
            values[CONTRADICTION] = ""
    return values


def seconds(text: str | None) -> int | None:
    """A number of seconds (RFC 9111, 1.2.2); None if it is no number."""
    return min(int(text), 2**31) if text is not None and re.fullmatch(r"[0-9]{1,20}", text) else None


def moment(lines: list[str]) -> float | None:
    """Date or Expires in seconds since 1970; None if there is no line, several, or no HTTP date."""
    if len(lines) != 1:
        return None
    match = next((match for date in DATES if (match := date.fullmatch(lines[0]))), None)
    if match is None:
        return None
    year = int(match["year"]) if len(match["year"]) == 4 else _year_of(int(match["year"]))
    hour, minute, second = (int(match[name]) for name in ("hour", "minute", "second"))
    try:
        midnight = datetime(year, MONTHS.index(match["month"]) + 1, int(match["day"]), tzinfo=UTC)
    except ValueError:  # no such day
        return None
    return midnight.timestamp() + 3600 * hour + 60 * minute + second


def _year_of(two_digits: int) -> int:
    """The year with these digits that is at most 50 years ahead (RFC 9110, 5.6.7)."""
    now = datetime.fromtimestamp(clock.now(), UTC).year
    ahead = (two_digits - now) % 100
    return now + ahead - (100 if ahead > 50 else 0)
