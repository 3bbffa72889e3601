"""A log level as a run reports it. Commands import this module without the rest of the run."""

from __future__ import annotations

import msgspec


class Level(msgspec.Struct, omit_defaults=True):
    """The level of a component, or of a part of Envoy ("envoy.http"). until: RFC 3339, UTC, for a temporary level;
    then: the level after it, "" if a part goes back to Envoy's own.
    """

    component: str
    level: str
    until: str = ""
    then: str = ""
