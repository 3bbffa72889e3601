"""Reasons to replace this process. The health check reports them, and the supervisor replaces it."""

from __future__ import annotations


class ReplacementNeeded:
    """Two reasons, each False until it arises, then True for good. For any thread; setting one allocates no memory."""

    __slots__ = ("memory_exhausted", "thread_failed")

    def __init__(self) -> None:
        self.memory_exhausted = False
        """An allocation of a policy has failed. It is not known which code holds the memory."""
        self.thread_failed = False
        """A thread that the executor cannot work without has ended with an exception (critical_thread.py)."""


replacement_needed = ReplacementNeeded()
