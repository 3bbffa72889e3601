"""Times as resources and the management API say them."""

from __future__ import annotations

from datetime import UTC, datetime


def utc_now() -> datetime:
    """Of the clock."""
    return datetime.now(UTC)


def timestamp(when: datetime) -> str:
    """Of a time in UTC, by RFC 3339; timestamps are in the order of their times."""
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")
