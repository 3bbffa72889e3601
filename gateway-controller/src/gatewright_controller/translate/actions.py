"""What becomes of an operation's requests, once the API's own choices stand in for those that it does not make."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from msgspec import UNSET

from gatewright_controller.model import (
    Answer,
    Api,
    ApiSpec,
    Mirror,
    Operation,
    OperationRedirect,
    Retries,
    Rewrite,
    Split,
    Websocket,
    milliseconds,
)
from gatewright_controller.model.routing import retried_methods
from gatewright_controller.resource.matches import ANY_METHOD
from gatewright_controller.translate.pools import MAIN

WHOLE = 1_000_000
"""Parts of requests are counted in millionths."""


class Forwarding(msgspec.Struct, frozen=True):
    """To pools by their names, each with its weight. In the place of a pool may be an answer."""

    pools: tuple[tuple[str | Answer, int], ...]
    mirrors: tuple[Mirror, ...] = ()
    retries: Retries | None = None
    rewrite: Rewrite = msgspec.field(default_factory=Rewrite)
    stream_timeout_ms: int | None = None
    websocket: bool = True
    """Whether one may open where nothing else keeps it from that."""
    websocket_idle_ms: int | None = None
    """None: as for all else."""
    failover: bool = False

    @property
    def named(self) -> set[str]:
        """Pools that routes name without a policy's doing."""
        return {name for name, _ in self.pools if isinstance(name, str)} | {mirror.upstream for mirror in self.mirrors}

    def shares(self) -> Iterator[tuple[str | Answer, int]]:
        """Pools in order, each with the millionths of all requests that it takes together with those before it."""
        total, taken = sum(weight for _, weight in self.pools), 0
        for name, weight in self.pools:
            taken += weight
            yield name, round(taken * WHOLE / total)


Action = Forwarding | OperationRedirect | Answer


def action(spec: ApiSpec, operation: Operation) -> Action:
    """The operation's own choices before those of its API."""
    if operation.redirect is not UNSET:
        return operation.redirect
    if operation.answer is not UNSET:
        return operation.answer
    mirror = spec.mirror if operation.mirror is UNSET else operation.mirror
    rewrite = spec.rewrite if operation.rewrite is UNSET else operation.rewrite
    whole = spec.stream_timeout if operation.stream_timeout is UNSET else operation.stream_timeout
    websocket = spec.websocket if operation.websocket is UNSET else operation.websocket
    idle = websocket.idle_timeout if isinstance(websocket, Websocket) else UNSET
    return Forwarding(
        _pools(spec, operation),
        () if mirror is UNSET else tuple(mirror),
        _retries(spec, operation),
        Rewrite() if rewrite is UNSET else rewrite,
        None if whole is UNSET else milliseconds(whole),
        websocket is not False,
        None if idle is UNSET else milliseconds(idle),
        fails_over(spec, operation),
    )


def _pools(spec: ApiSpec, operation: Operation) -> tuple[tuple[str | Answer, int], ...]:
    if operation.upstream is not UNSET:
        return ((operation.upstream, 1),)
    split = spec.split if operation.split is UNSET else operation.split
    return ((MAIN, 1),) if split is UNSET else tuple(map(_share, split))


def _share(share: Split) -> tuple[str | Answer, int]:
    if share.upstream is not UNSET:
        return share.upstream, share.weight
    assert share.answer, "a valid part has an upstream or an answer"
    return share.answer, share.weight


def _retries(spec: ApiSpec, operation: Operation) -> Retries | None:
    """None where none of its requests may be sent twice."""
    own = spec.retries if operation.retries is UNSET else operation.retries
    if own is UNSET or own is False:
        return None
    retries = Retries() if own is True else own
    return retries if operation.method in (ANY_METHOD, *retried_methods(retries)) else None


def fails_over(spec: ApiSpec, operation: Operation) -> bool:
    """Whether its policies may name several pools for a request."""
    own = spec.failover if operation.failover is UNSET else operation.failover
    return own is True and bool(spec.policies or operation.policies)


def used_pools(api: Api) -> set[str]:
    """Those that routes may send requests to: policies of an operation may choose any of the API's, unless it says
    otherwise."""
    used = set[str]()
    for operation in api.spec.operations:
        made = action(api.spec, operation)
        if isinstance(made, Forwarding):
            used |= made.named
            if api.spec.policies_choose_upstream and (api.spec.policies or operation.policies):
                used |= api.spec.upstreams.keys()
    return used
