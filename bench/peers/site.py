"""The surroundings of a peer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bench.rows import Row
from bench.settings import Settings

PROGRAMS = Path(__file__).parent / "programs"
"""Peers in Python. They run in environments of their own, and nothing here imports them."""


@dataclass(frozen=True)
class Site:
    """upstream: HOST:PORT, to which requests of the row go with their path. folder: the row's own, for programs,
    configuration and logs."""

    settings: Settings
    row: Row
    upstream: str
    folder: Path
