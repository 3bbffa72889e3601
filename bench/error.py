"""An error that ends a run: its message has the cure."""

from __future__ import annotations


class BenchError(Exception):
    """Expected, got, where, the cure."""
