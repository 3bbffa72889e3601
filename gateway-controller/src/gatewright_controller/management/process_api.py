"""/healthz and /metrics: whether the controller's process answers, and what it counts."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from gatewright_controller.local.metrics import CONTENT_TYPE_LATEST, Metrics
from gatewright_controller.management.json_answer import JsonAnswer
from gatewright_controller.management.rows import Answer, Part, Row
from gatewright_controller.management.shapes.process import Health


class ProcessEndpoints:
    """Of the controller itself."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    async def health(self, _: Request) -> Response:
        """200 while the process answers."""
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
