"""The surroundings of a peer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bench.rows import Row
from bench.settings import Settings

PROGRAMS = Path(__file__).parent / "programs"
"""The folder of peers in Python. They run in environments of their own, so no module of the bench imports them."""


@dataclass(frozen=True)
class Site:
    """upstream: HOST:PORT, to which the row's requests go with their paths. folder: the row's folder for programs,
    configuration and logs."""

    settings: Settings
    row: Row
    upstream: str
    folder: Path
