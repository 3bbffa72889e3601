"""Why this process should be replaced by another one. The health check says so; the supervisor does it."""

from __future__ import annotations


class ReplacementNeeded:
    """Two reasons, each False until it arises, then True for good. For any thread; to set one allocates nothing."""

    __slots__ = ("memory_exhausted", "thread_failed")

    def __init__(self) -> None:
        self.memory_exhausted = False
        """An allocation of a policy has failed. What holds the memory is not known."""
        self.thread_failed = False
        """A thread that the executor cannot do without has ended by an exception (critical_thread.py)."""


replacement_needed = ReplacementNeeded()
