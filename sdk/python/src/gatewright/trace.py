"""The trace a request belongs to (W3C Trace Context, https://www.w3.org/TR/trace-context/)."""

from __future__ import annotations

import re
from typing import NamedTuple

_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")


class TraceContext(NamedTuple):
    """The content of the headers `traceparent` and `tracestate`."""

    trace_id: str
    """32 hex digits."""
    span_id: str
    """16 hex digits: the span that this request is a child of."""
    sampled: bool
    """Whether the caller records this trace."""
    state: str
    """`tracestate` as it came, "" if there is none."""


def parse_trace(traceparent: str, state: str = "") -> TraceContext | None:
    """Parses the headers. None for an invalid value, as the standard says: such a request starts a new trace."""
    match = _TRACEPARENT.fullmatch(traceparent.strip())
    if match is None or (traceparent.startswith("00") and match[4]):
        return None
    return TraceContext(match[1], match[2], bool(int(match[3], 16) & 1), state)
