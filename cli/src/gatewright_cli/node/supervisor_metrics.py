"""The supervisor's metrics for Prometheus: of processes, reloads, and replaced executors."""

from __future__ import annotations

import math
import traceback
from collections import Counter as Counts
from collections.abc import Callable, Sequence
from pathlib import Path
from weakref import WeakKeyDictionary

from gatewright_controller.local.metrics_socket import METRICS_FAILED, metrics_socket
from gatewright_controller.local.peers import PeerCheck
from gatewright_controller.local.private_socket import PrivateSocket

from gatewright_cli.supervision.logs.output import LogOutput
from gatewright_cli.supervision.managed_process import ManagedProcess

RELOAD_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, math.inf)
RELOAD_RESULTS = ("reloaded", "unchanged", "refused")


class SupervisorMetrics:
    """The metrics of one run. processes: returns the present ones."""

    def __init__(self, processes: Callable[[], Sequence[ManagedProcess]]) -> None:
        self._processes = processes
        self._seen: WeakKeyDictionary[ManagedProcess, int] = WeakKeyDictionary()
        self._restarts: Counts[str] = Counts()
        self._recycled: Counts[tuple[str, str]] = Counts()
        self._reloads = dict.fromkeys(RELOAD_RESULTS, 0)
        self._reload_buckets = dict.fromkeys(RELOAD_BUCKETS, 0)
        self._reload_seconds = 0.0

    def count_restarts(self) -> None:
        """Counts restarts since the last call. Call it at each change of a process."""
        for process in self._processes():
            counted = self._seen.get(process, 0)
            for component in components(process):
                self._restarts[component] += process.restarts.count - counted
            self._seen[process] = process.restarts.count

    def count_recycled(self, group: str, reason: str) -> None:
        """Counts an executor that was replaced or killed. reason: one of a few words."""
        self._recycled[group, reason] += 1

    def count_reload(self, result: str, seconds: float) -> None:
        """Counts a reload that has ended. result: one of RELOAD_RESULTS."""
        self._reloads[result] += 1
        self._reload_seconds += seconds
        for bound in RELOAD_BUCKETS:
            self._reload_buckets[bound] += seconds <= bound

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        from gatewright_cli.node.supervisor_metrics_text import Values, text_of

        counted = self._restarts, self._recycled, self._reloads, self._reload_buckets, self._reload_seconds
        return text_of(Values(*counted, [(components(process), process) for process in self._processes()]))

    def socket(self, at: Path, check: PeerCheck, output: LogOutput) -> PrivateSocket:
        """A Unix socket that serves the metrics to peers that pass the check. Start it, close it."""

        def log_failure(error: Exception) -> None:
            output.event(METRICS_FAILED, "error", error="".join(traceback.format_exception(error)))

        return metrics_socket(at, check, self.text, log_failure)


def components(process: ManagedProcess) -> tuple[str, ...]:
    """The component of a process, and then that of its guest, if it has one."""
    guest = process.spec.guest
    return (process.spec.component or process.spec.name, *([guest.component] if guest else []))
