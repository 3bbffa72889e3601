"""An error that ends a run: its message has the cure."""

from __future__ import annotations


class BenchError(Exception):
    """Its message says what was expected, what came, where, and the cure."""
