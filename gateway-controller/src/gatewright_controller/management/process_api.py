"""/healthz and /metrics: whether the controller's process answers, and what it counts."""

from __future__ import annotations

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response

from gatewright_controller.local.metrics import CONTENT_TYPE_LATEST, Metrics
from gatewright_controller.management.json_answer import JsonAnswer
from gatewright_controller.management.rows import Answer, Part, Row
from gatewright_controller.management.shapes.process import Health


class ProcessEndpoints:
    """Of the controller itself. trouble: why it has no database; "" while it has one."""

    def __init__(self, metrics: Metrics, trouble: Callable[[], str] = str) -> None:
        self._metrics, self._trouble = metrics, trouble

    async def health(self, _: Request) -> Response:
        """200 while the process answers."""
        if trouble := self._trouble():
            return JsonAnswer(Health(status="no database", reason=trouble))
        return JsonAnswer(Health(status="ok"))

    async def metrics(self, _: Request) -> Response:
        """All counters of the controller."""
        return Response(self._metrics.text(), media_type=CONTENT_TYPE_LATEST)


PART = Part(
    "The controller",
    ProcessEndpoints,
    (
        Row(
            "getHealth",
            "GET",
            "/healthz",
            ProcessEndpoints.health,
            None,
            "Whether the controller's process answers.",
            {200: Answer("It answers.", (Health,))},
        ),
        Row(
            "getControllerMetrics",
            "GET",
            "/metrics",
            ProcessEndpoints.metrics,
            "nodes:inspect",
            "The controller's metrics, for Prometheus.",
            {200: Answer("Prometheus' text.", (str,), (CONTENT_TYPE_LATEST,))},
        ),
    ),
)
