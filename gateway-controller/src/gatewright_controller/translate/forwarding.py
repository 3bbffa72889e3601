"""Routes of an operation that goes upstream: one for each pool that it is split over, and, where it has policies, those
between which their choice decides.

All that a request is to a pool (its cluster, its authority, its base path) stands on a route, so each pool has its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from msgspec.structs import replace

from gatewright_controller._gen import envoy_names, node_pb2
from gatewright_controller.model import Answer, Retries
from gatewright_controller.model.routing import back_off_ms, retried_methods
from gatewright_controller.resource.paths import PathTemplate
from gatewright_controller.translate import envoy
from gatewright_controller.translate.actions import WHOLE, Forwarding
from gatewright_controller.translate.chains import bodies_wanted
from gatewright_controller.translate.identity import digest_of
from gatewright_controller.translate.pools import Pool
from gatewright_controller.translate.rewrites import upstream_path
from gatewright_controller.translate.timeouts import Timeouts

CONDITIONS = {
    "connectFailure": "connect-failure",
    "refusedStream": "refused-stream",
    "reset": "reset",
    "gatewayError": "gateway-error",
    "serverError": "5xx",
    "grpcCancelled": "cancelled",
    "grpcDeadlineExceeded": "deadline-exceeded",
    "grpcInternal": "internal",
    "grpcResourceExhausted": "resource-exhausted",
    "grpcUnavailable": "unavailable",
}
"""What an API says, in Envoy's words."""


@dataclass(frozen=True)
class Forwarder:
    """Of one operation. filters: what the node's filters do on all its routes."""

    name: str
    action: Forwarding
    method: str
    path: PathTemplate
    context: str
    chain: node_pb2.Chain | None
    timeouts: Timeouts
    filters: envoy.Filters
    pool: Callable[[str], Pool]
    tried: Mapping[str, Pool] = field(default_factory=dict)

    def routes(self, match: envoy.EnvoyMessage) -> Iterator[envoy.EnvoyMessage]:
        """Those that take requests as they come, in order of precedence."""
        for idle_ms in self._idle_times:
            # The idle time of a WebSocket is that of its route, so it has one of its own.
            asked = envoy.narrowed(match, websocket=True) if idle_ms is not None else match
            for target, millionths in self.action.shares():
                part = asked if millionths == WHOLE else envoy.narrowed(asked, millionths=millionths)
                if isinstance(target, Answer):
                    answer = envoy.Answer(target.status, target.headers, target.body)
                    yield envoy.answering_route(self.name, part, answer, self.filters)
                else:
                    yield self._route(part, target, idle_ms, self._group(idle_ms))

    @cached_property
    def whole(self) -> envoy.Forward | None:
        """What becomes of its requests where that is the same for all of them; None where some need a route of their
        own: a part of them, those for a WebSocket, those for a pool that a policy chooses."""
        if len(self.action.pools) > 1 or self._idle_times != [None] or self._choices:
            return None
        ((target, _),) = self.action.pools
        return None if isinstance(target, Answer) else self._forward(self.pool(target))

    def chosen_routes(self) -> Iterator[envoy.EnvoyMessage]:
        """Those that take requests once policies have run."""
        for idle_ms in self._idle_times:
            if group := self._group(idle_ms):
                for name in self._choices:
                    yield self._route(self._anything, name, idle_ms, group)
                if self.chain and self.chain.failover:
                    yield self._tried_route(idle_ms, group)

    @property
    def _idle_times(self) -> list[int | None]:
        """None stands for the operation's own."""
        own = self.action.websocket_idle_ms
        return [None] if own is None or not self._websocket.allowed else [own, None]

    @property
    def _choices(self) -> list[str]:
        """Pools among which its policies choose."""
        names = list(self.chain.upstreams) if self.chain else []
        return names if len(names) > 1 else []

    def _group(self, idle_ms: int | None) -> str:
        """Names, after their content, the routes between which a choice decides; "" where no policy chooses."""
        if idle_ms not in self._groups:
            made = [self._route(self._anything, name, idle_ms, "") for name in self._choices]
            self._groups[idle_ms] = digest_of([envoy.serialized(route).hex() for route in made]) if made else ""
        return self._groups[idle_ms]

    @cached_property
    def _groups(self) -> dict[int | None, str]:
        return {}

    @cached_property
    def _anything(self) -> envoy.EnvoyMessage:
        return envoy.route_match(envoy.PathMatch("everything"))

    def _route(self, match: envoy.EnvoyMessage, name: str, idle_ms: int | None, group: str) -> envoy.EnvoyMessage:
        forward = self._forward(self.pool(name))
        if idle_ms is not None:
            forward = replace(forward, idle_timeout_ms=idle_ms)
        if group:
            forward = replace(forward, choice=envoy.Choice(group, name))
        return envoy.forwarding_route(self.name, match, forward, self.filters)

    def _tried_route(self, idle_ms: int | None, group: str) -> envoy.EnvoyMessage:
        """Of requests with several attempts. Each attempt puts its pool's base path before the path."""
        first = self.tried[self._choices[0]]
        forward = replace(
            self._forward(first),
            authority="",
            rewrite=upstream_path(self.context, "", self.path, self.action.rewrite),
            idle_timeout_ms=self.timeouts.idle_ms if idle_ms is None else idle_ms,
            retries=None,
            mirrors=(),
            choice=envoy.Choice(group, envoy_names.FAILOVER_CHOICE),
            attempts=envoy.Attempts(
                {name: envoy.AttemptPool(self._authority(pool), pool.base) for name, pool in self.tried.items()},
                {name: pool.cluster for name, pool in self.tried.items()},
            ),
        )
        return envoy.forwarding_route(self.name, self._anything, forward, self.filters)

    def _forward(self, pool: Pool) -> envoy.Forward:
        return envoy.Forward(
            pool.cluster,
            self._authority(pool),
            self.timeouts.request_ms,
            self.timeouts.idle_ms,
            upstream_path(self.context, pool.base, self.path, self.action.rewrite),
            policies_choose_authority=self.chain is not None,
            websocket=self._websocket,
            stream_timeout_ms=self.action.stream_timeout_ms,
            retries=_retrying(self.action.retries) if self.action.retries else None,
            mirrors=self._mirrors(pool),
            paths=self._paths(pool),
        )

    def _authority(self, pool: Pool) -> str:
        """ "" is the client's own."""
        rewrite = self.action.rewrite
        if isinstance(rewrite.host, str):
            return rewrite.host
        return "" if rewrite.keep_host else pool.authority

    def _paths(self, pool: Pool) -> envoy.UpstreamPaths | None:
        context = "" if self.context == "/" else self.context
        if not pool.maps_paths or context == pool.base:
            return None
        return envoy.UpstreamPaths(context, pool.base, self._authority(pool))

    def _mirrors(self, pool: Pool) -> list[envoy.Mirroring]:
        """None to the pool itself, which a policy may have chosen: a request would be sent to it twice."""
        others = [
            (self.pool(mirror.upstream), mirror.percent)
            for mirror in self.action.mirrors
            if mirror.upstream != pool.name
        ]
        return [
            envoy.Mirroring(other.cluster, other.authority, max(1, round(percent * WHOLE / 100)))
            for other, percent in others
        ]

    @cached_property
    def _websocket(self) -> envoy.Websocket:
        """One begins as a GET. Once it is open it has no bodies, so that policies that want one would be passed by."""
        if self.method != "GET" or not self.action.websocket:
            return envoy.Websocket(allowed=False)
        wanting = bodies_wanted(self.chain) if self.chain else []
        return envoy.Websocket(not wanting, f"bodies are wanted by {', '.join(wanting)}" if wanting else "")


def _retrying(retries: Retries) -> envoy.Retrying:
    base, longest = back_off_ms(retries)
    return envoy.Retrying(
        [CONDITIONS[condition] for condition in retries.conditions if isinstance(condition, str)],
        [condition for condition in retries.conditions if isinstance(condition, int)],
        retries.attempts - 1,
        retried_methods(retries),
        base,
        longest,
    )
