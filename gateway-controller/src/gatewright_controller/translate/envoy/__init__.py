"""The one place that touches Envoy's protos, whose Python packages have no types: typed values in, messages out."""

from gatewright_controller.translate.envoy.clusters import Tls, cluster
from gatewright_controller.translate.envoy.common import EnvoyMessage, serialized
from gatewright_controller.translate.envoy.listeners import listener
from gatewright_controller.translate.envoy.routes import (
    Answer,
    ExtProc,
    Filters,
    Forward,
    PathMatch,
    Websocket,
    answering_route,
    forwarding_route,
    route_match,
)

__all__ = [
    "Answer",
    "EnvoyMessage",
    "ExtProc",
    "Filters",
    "Forward",
    "PathMatch",
    "Tls",
    "Websocket",
    "answering_route",
    "cluster",
    "forwarding_route",
    "listener",
    "route_match",
    "serialized",
]
