"""Durations of Gateway API (GEP-2257), such as `1h30m` and `200ms`."""

from __future__ import annotations

import re

from gatewright_controller.gateway_api.conditions import Problem

DURATION = re.compile(r"([0-9]{1,5}(?:h|ms|m|s)){1,4}")
PART = re.compile(r"([0-9]{1,5})(h|ms|m|s)")
MILLISECONDS = {"h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
LONGEST = 9_999_999


def milliseconds(duration: str) -> int | Problem:
    """0 is no limit."""
    if not DURATION.fullmatch(duration):
        return Problem("UnsupportedValue", f"expected a duration such as 1h30m or 200ms, got {duration!r}")
    return sum(int(count) * MILLISECONDS[unit] for count, unit in PART.findall(duration))


def timeout(ms: int) -> str:
    """As our resources say it: `1500ms`, `90s`; the longest that there is for 0."""
    if not ms:
        return f"{LONGEST}s"
    return f"{ms}ms" if ms <= LONGEST else f"{min(round(ms / 1000), LONGEST)}s"
