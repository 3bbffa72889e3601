"""What ends a run: said to the person who measures, with the cure."""

from __future__ import annotations


class BenchError(Exception):
    """Expected, got, where, the cure."""
