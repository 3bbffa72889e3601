"""The target of a row: a port, and the processes behind it by the column that shows their CPU time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

ENVOY, GO, PYTHON, REST = "Envoy", "Go", "Python", "rest"
COLUMNS = (ENVOY, GO, PYTHON, REST)
"""Go: the policy engine, or a peer's server in Go. Python: the executors, or a peer's Python process. rest: the
supervisor and the controller, which should be idle while requests pass."""

Pids = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Target:
    """processes: called before and after each sample, which is invalid if a process was replaced meanwhile. admin: the
    engine's admin socket."""

    port: int
    processes: Callable[[], Pids]
    log: Path
    admin: Path | None = None
