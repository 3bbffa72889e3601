"""The target of a row: a port, and the processes behind it by the column that shows their CPU time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

ENVOY, GO, PYTHON, REST = "Envoy", "Go", "Python", "rest"
COLUMNS = (ENVOY, GO, PYTHON, REST)
"""Go: the policy engine, or what a peer has in its place. Python: the executors, or a peer's Python process. rest: the
supervisor and the controller, which should have nothing to do while requests pass."""

Pids = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Target:
    """`processes` is asked before and after each sample: a process that was replaced meanwhile spoils it. admin: the
    socket where our engine answers questions."""

    port: int
    processes: Callable[[], Pids]
    log: Path
    admin: Path | None = None
