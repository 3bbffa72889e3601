"""The Unix socket at which a node's engine reads the metrics of one process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from gatewright_controller.local.peers import PeerCheck
from gatewright_controller.local.private_http import http_socket
from gatewright_controller.local.private_socket import PrivateSocket

PATH = "/metrics"
MEDIA_TYPE = "text/plain; version=1.0.0; charset=utf-8"
"""prometheus_client's CONTENT_TYPE_LATEST, whose import takes as long as a tenth of the supervisor's start."""
METRICS_FAILED = "metrics cannot be reported"


def metrics_socket(
    at: Path, check: PeerCheck, text: Callable[[], bytes], log_failure: Callable[[Exception], None]
) -> PrivateSocket:
    """Serves `text`, metrics in Prometheus' text format, to peers that pass the check. Start it, close it."""
    return http_socket(at, check, lambda path: text() if path == PATH else None, MEDIA_TYPE, log_failure)
