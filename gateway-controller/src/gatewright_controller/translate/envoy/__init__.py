"""The one place that touches Envoy's protos, whose Python packages have no types: typed values in, messages out."""

from gatewright_controller.translate.envoy.clusters import Tls, cluster
from gatewright_controller.translate.envoy.common import EnvoyMessage, serialized
from gatewright_controller.translate.envoy.matches import (
    EVERY_METHOD,
    PATH_AND_QUERY,
    Methods,
    PathMatch,
    ValueMatch,
    route_match,
)
from gatewright_controller.translate.envoy.routes import (
    Answer,
    ExtProc,
    Filters,
    Forward,
    Problem,
    Websocket,
    answering_route,
    forwarding_route,
    refusing_route,
)

__all__ = [
    "EVERY_METHOD",
    "PATH_AND_QUERY",
    "Answer",
    "EnvoyMessage",
    "ExtProc",
    "Filters",
    "Forward",
    "Methods",
    "PathMatch",
    "Problem",
    "Tls",
    "ValueMatch",
    "Websocket",
    "answering_route",
    "cluster",
    "forwarding_route",
    "refusing_route",
    "route_match",
    "serialized",
]
