"""Header fields that say for how long: Cache-Control, ages and dates."""

from __future__ import annotations

import re
from email.utils import parsedate_to_datetime

DIRECTIVE = re.compile(
    r"""[\s,]*+([!#$%&'*+.^_`|~0-9A-Za-z-]++)(?:=(?:"((?:[^"\\]|\\.)*+)"|([^\s",]*+)))?+\s*+(?:,|$)"""
)  # possessive, so that no line costs more than its length
CONTRADICTION = "\x00"
"""Stands among directives where two of the same name differ, or a line is no list of directives."""


def directives(lines: list[str]) -> dict[str, str]:
    """Of Cache-Control (RFC 9111, 5.2), names in lower case."""
    found: dict[str, str] = {}
    for line in lines:
        at = 0
        while part := DIRECTIVE.match(line, at):
            name, value = part[1].lower(), part[2] if part[2] is not None else part[3] or ""
            if found.setdefault(name, value) != value:
                found[CONTRADICTION] = ""
            at = part.end()
        if line[at:].strip(" \t,"):
            found[CONTRADICTION] = ""
    return found


def seconds(text: str | None) -> int | None:
    """RFC 9111, 1.2.2; None where it is no number."""
    return min(int(text), 2**31) if text is not None and re.fullmatch(r"[0-9]{1,20}", text) else None


def moment(lines: list[str]) -> float | None:
    """Of Date and Expires, in seconds since 1970; None where there is none, several, or what is none."""
    if len(lines) != 1:
        return None
    try:
        return parsedate_to_datetime(lines[0]).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
