"""The controller's metrics for Prometheus: of APIs, nodes and requests to the management API."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path

from gatewright import __version__
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gatewright_controller.local.metrics_socket import METRICS_FAILED, metrics_socket
from gatewright_controller.local.peers import ENGINE, PeerCheck, Rule, in_file
from gatewright_controller.local.private_socket import PrivateSocket

__all__ = [
    "CONTENT_TYPE_LATEST",
    "ROUTE",
    "Measured",
    "Metrics",
    "build_info",
    "engines_socket",
    "serving_metrics",
]

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0)
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
OTHER = "other"
REVISIONS, AUDIT_ENTRIES = "revisions", "auditEntries"
ROUTE = "gatewright.route"  # of a scope: the path of the route that has answered, "/v1/apis/{name}"
StateExport = Callable[[], tuple[int, bool] | None]
"""Of the newest state that was exported the revision, and whether the export fails; None where there is none."""
log = logging.getLogger(__name__)


class Metrics:
    """Of one controller. api_states: how many APIs are in each state now; nodes: how many are connected; has_database:
    whether the controller has its database now; state_export: what becomes of the export of states."""

    def __init__(
        self,
        api_states: Callable[[], Mapping[str, int]] = dict,
        nodes: Callable[[], int] = lambda: 0,
        has_database: Callable[[], bool] = lambda: True,
        state_export: StateExport = lambda: None,
    ) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "gatewright_controller_requests_total",
            "Requests to the management API that were answered.",
            ["method", "route", "status"],
            registry=self._registry,
        )
        self._durations = Histogram(
            "gatewright_controller_request_duration_seconds",
            "How long requests to the management API took to be answered, with what they ask to wait for.",
            ["method", "route"],
            buckets=BUCKETS,
            registry=self._registry,
        )
        self._pruned = Counter(
            "gatewright_controller_pruned_total",
            "Rows that were deleted since they need not be kept: revisions of resources, entries of the audit log.",
            ["rows"],
            registry=self._registry,
        )
        for rows in (REVISIONS, AUDIT_ENTRIES):
            self._pruned.labels(rows)
        self._registry.register(_State(api_states, nodes, has_database, state_export))

    def count_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """One request more. route: its pattern, never a path."""
        method = method if method in METHODS else OTHER
        self._requests.labels(method, route, status).inc()
        self._durations.labels(method, route).observe(seconds)

    def count_pruned(self, revisions: int, audit_entries: int) -> None:
        """So many rows are gone from the database."""
        self._pruned.labels(REVISIONS).inc(revisions)
        self._pruned.labels(AUDIT_ENTRIES).inc(audit_entries)

    def add(self, collector: Collector) -> None:
        """What another part of the controller counts is among them from now on."""
        self._registry.register(collector)

    def text(self) -> bytes:
        """All of them, as Prometheus' text."""
        return generate_latest(self._registry)


class _State(Collector):
    """What is counted when it is asked for."""

    def __init__(
        self,
        api_states: Callable[[], Mapping[str, int]],
        nodes: Callable[[], int],
        has_database: Callable[[], bool],
        state_export: StateExport,
    ) -> None:
        self._api_states, self._nodes, self._has_database = api_states, nodes, has_database
        self._state_export = state_export

    def collect(self) -> Iterator[GaugeMetricFamily]:
        apis = GaugeMetricFamily("gatewright_controller_apis", "APIs, by what nodes make of them.", labels=["state"])
        for state, count in self._api_states().items():
            apis.add_metric([state], count)
        yield apis
        yield GaugeMetricFamily("gatewright_controller_nodes", "Nodes that are connected.", value=self._nodes())
        yield GaugeMetricFamily(
            "gatewright_controller_database_open",
            "1 while the controller has its database; 0 while it cannot open or reach it: nodes serve what they have.",
            value=self._has_database(),
        )
        if (export := self._state_export()) is not None:
            revision, is_failing = export
            yield GaugeMetricFamily(
                "gatewright_controller_state_exported_revision",
                "Revision of the newest state that the place of the export took; 0: it took none yet.",
                value=revision,
            )
            yield GaugeMetricFamily(
                "gatewright_controller_state_export_failing",
                "1 while the place of the export does not take the state, which is tried again.",
                value=is_failing,
            )
        yield build_info("controller")


def build_info(component: str) -> GaugeMetricFamily:
    """1, with the product's version, which every component has."""
    family = GaugeMetricFamily(
        "gatewright_build_info", "The versions of what runs; always 1.", labels=["version", "component"]
    )
    family.add_metric([__version__, component], 1)
    return family


class Measured:
    """Middleware that counts requests. The route that answers says its pattern in the scope, by ROUTE."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status, took = time.perf_counter(), 500, 0.0

        async def noting(message: Message) -> None:
            nonlocal status, took
            if message["type"] == "http.response.start":  # what follows may be exchanges, for an hour
                status, took = message["status"], time.perf_counter() - began
            await send(message)

        try:
            await self._app(scope, receive, noting)
        finally:
            route = scope.get(ROUTE, OTHER)
            self._metrics.count_request(scope["method"], route, status, took or time.perf_counter() - began)


@contextlib.asynccontextmanager
async def serving_metrics(listen: str | None, peers: str | None, metrics: Metrics) -> AsyncIterator[None]:
    """Serves the metrics to a node's engine meanwhile, at the socket `listen`, if there is one and a file of peers."""
    if not listen or not peers:
        yield
        return
    at = Path(listen.removeprefix("unix:"))
    at.unlink(missing_ok=True)
    served = engines_socket(at, Path(peers), metrics, _warn_of_peer)
    await served.start()
    try:
        yield
    finally:
        await served.close()


def _warn_of_peer(at: str, pid: int, why: str) -> None:
    log.warning("connection refused", extra={"socket": at, "pid": pid, "reason": why})


def engines_socket(at: Path, peers: Path, metrics: Metrics, warn: Callable[[str, int, str], None]) -> PrivateSocket:
    """Serves them to the engine of the node. peers: the supervisor's file. Start it, close it."""
    check = PeerCheck(Rule(in_file(peers), (ENGINE,)), at, warn)
    return metrics_socket(at, check, metrics.text, lambda error: log.error(METRICS_FAILED, exc_info=error))
