"""A level of log as a run tells it; commands that ask a run import it without the run."""

from __future__ import annotations

import msgspec


class Level(msgspec.Struct, omit_defaults=True):
    """Of one component, or of a part of Envoy ("envoy.http"). until: RFC 3339, UTC, where it counts for a time; then:
    what counts after it, "" where a part goes back to Envoy's own."""

    component: str
    level: str
    until: str = ""
    then: str = ""
