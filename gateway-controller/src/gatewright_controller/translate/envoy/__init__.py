"""The one place that touches Envoy's protos, whose Python packages have no types: typed values in, messages out."""

from gatewright_controller.translate.envoy.attempts import AttemptPool, Attempts
from gatewright_controller.translate.envoy.clusters import Content, PoolTarget, cluster, name_of
from gatewright_controller.translate.envoy.common import EnvoyMessage, serialized
from gatewright_controller.translate.envoy.listeners import answers_challenges, listeners
from gatewright_controller.translate.envoy.local_replies import NO_ROUTE
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
    Choice,
    ExtProc,
    Filters,
    Forward,
    Mirroring,
    Problem,
    Redirect,
    Retrying,
    Websocket,
    answering_route,
    forwarding_route,
    narrowed,
    redirecting_route,
    refusing_route,
)
from gatewright_controller.translate.envoy.upstream_paths import UpstreamPaths

__all__ = [
    "EVERY_METHOD",
    "NO_ROUTE",
    "PATH_AND_QUERY",
    "Answer",
    "AttemptPool",
    "Attempts",
    "Choice",
    "Content",
    "EnvoyMessage",
    "ExtProc",
    "Filters",
    "Forward",
    "Methods",
    "Mirroring",
    "PathMatch",
    "PoolTarget",
    "Problem",
    "Redirect",
    "Retrying",
    "UpstreamPaths",
    "ValueMatch",
    "Websocket",
    "answering_route",
    "answers_challenges",
    "cluster",
    "forwarding_route",
    "listeners",
    "name_of",
    "narrowed",
    "redirecting_route",
    "refusing_route",
    "route_match",
    "serialized",
]
