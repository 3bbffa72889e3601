"""What a controller with Gateway API counts, for Prometheus."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

import msgspec
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

PREFIX = "gatewright_controller_gateway_api"


class Leading(Protocol):
    """Whether this controller writes now."""

    is_leading: bool


class Counts(msgspec.Struct):
    """Of one controller. objects: that are watched, by kind; none where it does not lead."""

    election: Leading | None = None
    objects: Callable[[], Mapping[str, int]] = dict
    refused: Callable[[], int] = lambda: 0
    synced_at: float = 0.0
    status_writes: Counter[str] = msgspec.field(default_factory=Counter)

    def note_sync(self) -> None:
        """The store has what the objects say now."""
        self.synced_at = time.time()

    def count_status(self, kind: str) -> None:
        """A status was written."""
        self.status_writes[kind] += 1


class GatewayApiMetrics(Collector):
    """What is counted when it is asked for."""

    def __init__(self, counts: Counts) -> None:
        self._counts = counts

    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        """All of them."""
        counts = self._counts
        yield GaugeMetricFamily(
            f"{PREFIX}_leader",
            "1 while this controller writes to Kubernetes.",
            value=bool(counts.election and counts.election.is_leading),
        )
        objects = GaugeMetricFamily(
            f"{PREFIX}_objects", "Objects of Kubernetes that are watched; none where it does not lead.", labels=["kind"]
        )
        for kind, count in counts.objects().items():
            objects.add_metric([kind], count)
        yield objects
        yield GaugeMetricFamily(
            f"{PREFIX}_refused_documents",
            "Resources made of Gateway API that are not valid: the version before is served.",
            value=counts.refused(),
        )
        yield GaugeMetricFamily(
            f"{PREFIX}_last_sync_timestamp_seconds",
            "When the store got what the objects say; 0: never by this controller.",
            value=counts.synced_at,
        )
        writes = CounterMetricFamily(f"{PREFIX}_status_writes", "Statuses that were written.", labels=["kind"])
        for kind, count in sorted(counts.status_writes.items()):
            writes.add_metric([kind], count)
        yield writes
