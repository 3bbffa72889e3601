"""The supervisor's metrics for Prometheus: of processes, reloads, and replaced executors."""

from __future__ import annotations

import os
import traceback
from collections import Counter as Counts
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from weakref import WeakKeyDictionary

from gatewright_controller.local.metrics import CONTENT_TYPE_LATEST, METRICS_FAILED, PATH, build_info
from gatewright_controller.local.peers import PeerCheck
from gatewright_controller.local.private_http import http_socket
from gatewright_controller.local.private_socket import PrivateSocket
from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from gatewright_cli.node.executors.recycling import resident
from gatewright_cli.supervision.logs.output import LogOutput
from gatewright_cli.supervision.managed_process import ManagedProcess, State

SUPERVISOR = "supervisor"
RELOAD_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
RELOAD_RESULTS = ("reloaded", "unchanged", "refused")


class SupervisorMetrics:
    """The metrics of one run. processes: returns the present ones."""

    def __init__(self, processes: Callable[[], Sequence[ManagedProcess]]) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._processes = processes
        self._seen: WeakKeyDictionary[ManagedProcess, int] = WeakKeyDictionary()
        self._registry = CollectorRegistry()
        self._restarts = Counter(
            "gatewright_process_restarts_total",
            "Restarts of processes that exited or were killed.",
            ["component"],
            registry=self._registry,
        )
        self._recycled = Counter(
            "gatewright_executor_recycled_total",
            "Executor processes that were replaced or killed, by reason.",
            ["group", "reason"],
            registry=self._registry,
        )
        self._reloads = Counter(
            "gatewright_reloads_total", "Reloads that have ended.", ["result"], registry=self._registry
        )
        self._reload_durations = Histogram(
            "gatewright_reload_duration_seconds",
            "Duration of reloads, including builds and refused reloads.",
            buckets=RELOAD_BUCKETS,
            registry=self._registry,
        )
        for result in RELOAD_RESULTS:
            self._reloads.labels(result)
        self._registry.register(_Processes(processes))

    def count_restarts(self) -> None:
        """Counts restarts since the last call. Call it at each change of a process."""
        for process in self._processes():
            counted = self._seen.get(process, 0)
            self._restarts.labels(_component(process)).inc(process.restarts.count - counted)
            self._seen[process] = process.restarts.count

    def count_recycled(self, group: str, reason: str) -> None:
        """Counts an executor that was replaced or killed. reason: one of a few words."""
        self._recycled.labels(group, reason).inc()

    def count_reload(self, result: str, seconds: float) -> None:
        """Counts a reload that has ended. result: one of RELOAD_RESULTS."""
        self._reloads.labels(result).inc()
        self._reload_durations.observe(seconds)

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self._registry)

    def socket(self, at: Path, check: PeerCheck, output: LogOutput) -> PrivateSocket:
        """A Unix socket that serves the metrics to peers that pass the check. Start it, close it."""

        def log_failure(error: Exception) -> None:
            output.event(METRICS_FAILED, "error", error="".join(traceback.format_exception(error)))

        return http_socket(
            at, check, lambda path: self.text() if path == PATH else None, CONTENT_TYPE_LATEST, log_failure
        )


class _Processes(Collector):
    """Gauges that are read at each scrape."""

    def __init__(self, processes: Callable[[], Sequence[ManagedProcess]]) -> None:
        self._processes = processes

    def collect(self) -> Iterator[GaugeMetricFamily]:
        ready, memory = Counts({SUPERVISOR: 1}), Counts({SUPERVISOR: resident(os.getpid())})
        for process in self._processes():
            component = _component(process)
            ready[component] += process.state is State.READY
            memory[component] += resident(process.pid) if process.pid else 0
        yield _by_component("gatewright_process_up", "Processes that are ready, of each component.", ready)
        yield _by_component("gatewright_process_memory_bytes", "Resident memory, of each component.", memory)
        yield build_info(SUPERVISOR)


def _component(process: ManagedProcess) -> str:
    return process.spec.component or process.spec.name


def _by_component(name: str, documentation: str, counts: Counts[str]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, documentation, labels=["component"])
    for component, count in counts.items():
        family.add_metric([component], count)
    return family
