"""The one place that touches Envoy's protos, whose Python packages have no types: typed values in, messages out."""

from gatewright_controller.translate.envoy.clusters import Content, PoolTarget, cluster, name_of
from gatewright_controller.translate.envoy.common import EnvoyMessage, serialized
from gatewright_controller.translate.envoy.listeners import listeners
from gatewright_controller.translate.envoy.routes import (
    Answer,
    Choice,
    ExtProc,
    Filters,
    Forward,
    Mirroring,
    PathMatch,
    Redirect,
    Retrying,
    Websocket,
    answering_route,
    forwarding_route,
    narrowed,
    redirecting_route,
    route_match,
)

__all__ = [
    "Answer",
    "Choice",
    "Content",
    "EnvoyMessage",
    "ExtProc",
    "Filters",
    "Forward",
    "Mirroring",
    "PathMatch",
    "PoolTarget",
    "Redirect",
    "Retrying",
    "Websocket",
    "answering_route",
    "cluster",
    "forwarding_route",
    "listeners",
    "name_of",
    "narrowed",
    "redirecting_route",
    "route_match",
    "serialized",
]
