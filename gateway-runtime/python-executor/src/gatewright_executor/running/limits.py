"""How long an executor waits for policies, and how much of what waits for them it keeps."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Those of one executor."""

    loop_blocked_seconds: float = 5.0  # an event loop that has not answered for so long is blocked by a policy
    close_seconds: float = 5.0  # that closing an instance may take; and all of them, when the process stops
    last_seconds: float = 10.0  # that a closed instance's last execution may go on before what it uses is closed
    max_waiting: int = 1024  # executions that wait for one instance
    max_backlog: int = 1024  # that wait for a worker; beyond it, frames are not acknowledged: the engine waits


LIMITS = Limits()
