"""The levels of isolation of `gatewright run --isolation`, and the user of the node on which each is tried."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Level:
    """as_root: the supervisor is root and its executors are not. Else the whole node is one ordinary user's: root
    reaches everything, so that without users of their own a node of root's would show what root may, and nothing more.
    """

    name: str
    options: tuple[str, ...]
    as_root: bool = False


NONE = Level("none", ("--isolation", "none"))
LANDLOCK = Level("landlock", ("--isolation", "landlock"))
USER = Level("user", ("--isolation", "user"), as_root=True)
LEVELS = (NONE, LANDLOCK, USER)
DEFAULT = replace(LANDLOCK, options=())
"""The level of a run without options."""


def skip_reason() -> str | None:
    """Why this machine cannot show the levels; None where it can."""
    if os.geteuid() != 0:
        return "it takes root to run one node as root and another as an ordinary user"
    return None
