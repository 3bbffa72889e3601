"""Time limits for policies, and bounds of the queues before them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one executor."""

    loop_blocked_seconds: float = 5.0  # without an answer, after which an event loop counts as blocked by a policy
    close_seconds: float = 5.0  # for closing an instance; for closing all of them when the process stops
    last_seconds: float = 10.0  # for the last executions of a retired instance before it is closed
    max_waiting: int = 1024  # executions that wait for one instance
    max_backlog: int = 1024  # executions that wait for a worker; above, frames are not acknowledged: the engine waits


LIMITS = Limits()
