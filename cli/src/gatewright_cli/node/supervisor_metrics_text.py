"""The supervisor's metrics as text. Imported when the engine asks for it, since Prometheus' library takes long to
import.
"""

from __future__ import annotations

import os
from collections import Counter as Counts
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from gatewright_controller.local.metrics import build_info
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from gatewright_cli.node.executors.recycling import resident
from gatewright_cli.supervision.managed_process import ManagedProcess, State

SUPERVISOR = "supervisor"


@dataclass(frozen=True)
class Values:
    """The values at one time.

    restarts: by component. recycled: executors, by group and reason. reloads: by result. reload_buckets: how many
    reloads took at most so many seconds, by these; reload_seconds: of all. processes: the present ones, by component.
    """

    restarts: Mapping[str, int]
    recycled: Mapping[tuple[str, str], int]
    reloads: Mapping[str, int]
    reload_buckets: Mapping[float, int]
    reload_seconds: float
    processes: Sequence[tuple[tuple[str, ...], ManagedProcess]]


def text_of(values: Values) -> bytes:
    """The values in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(_Families(values))
    return generate_latest(registry)


class _Families(Collector):
    def __init__(self, values: Values) -> None:
        self._values = values

    def collect(self) -> Iterator[Metric]:
        values = self._values
        restarts = CounterMetricFamily(
            "gatewright_process_restarts_total",
            "Restarts of processes that exited or were killed.",
            labels=["component"],
        )
        for component, count in values.restarts.items():
            restarts.add_metric([component], count)
        yield restarts
        recycled = CounterMetricFamily(
            "gatewright_executor_recycled_total",
            "Executor processes that were replaced or killed, by reason.",
            labels=["group", "reason"],
        )
        for names, count in values.recycled.items():
            recycled.add_metric(names, count)
        yield recycled
        reloads = CounterMetricFamily("gatewright_reloads_total", "Reloads that have ended.", labels=["result"])
        for result, count in values.reloads.items():
            reloads.add_metric([result], count)
        yield reloads
        yield HistogramMetricFamily(
            "gatewright_reload_duration_seconds",
            "Duration of reloads, including builds and refused reloads.",
            buckets=[(_bound(seconds), count) for seconds, count in values.reload_buckets.items()],
            sum_value=values.reload_seconds,
        )
        yield from _of_processes(values.processes)
        yield build_info(SUPERVISOR)


def _of_processes(processes: Sequence[tuple[tuple[str, ...], ManagedProcess]]) -> Iterator[Metric]:
    ready, memory = Counts({SUPERVISOR: 1}), Counts({SUPERVISOR: resident(os.getpid())})
    for components, process in processes:
        for component in components:
            ready[component] += process.state is State.READY
        memory[components[0]] += resident(process.pid) if process.pid else 0  # a guest's is its process's
    yield _by_component("gatewright_process_up", "Processes that are ready, of each component.", ready)
    yield _by_component("gatewright_process_memory_bytes", "Resident memory, of each component.", memory)


def _bound(seconds: float) -> str:
    return str(floatToGoString(seconds))  # type: ignore[no-untyped-call]


def _by_component(name: str, documentation: str, counts: Counts[str]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, documentation, labels=["component"])
    for component, count in counts.items():
        family.add_metric([component], count)
    return family
