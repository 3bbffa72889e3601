"""From an API's pools to clusters, and to what routes say of them.

A cluster is named after its content, without the API's name: APIs with the same pool share one, and a changed one
stands beside the old until routes have moved.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache

import msgspec
from msgspec import UNSET
from msgspec.structs import replace

from gatewright_controller.model import Target, Upstream
from gatewright_controller.resource.upstream import parse_url
from gatewright_controller.translate import envoy
from gatewright_controller.translate.settings import EdgeSettings

POOLS_KEPT = 1000
"""Made once for the APIs that have them in common."""
MAIN = "main"
"""The pool of operations that name none."""


class Pool(msgspec.Struct, frozen=True):
    """A pool as routes name it: its cluster, the `:authority` that goes upstream, and the prefix of paths there, "" or
    "/api". The pool's targets, and how requests are spread over them, are in its cluster.
    """

    name: str
    cluster: str
    authority: str
    base: str
    maps_paths: bool = False
    """Whether paths in its answers are mapped to those of the API."""


class Pools(msgspec.Struct, frozen=True):
    """Those of one API."""

    pools: Mapping[str, Pool]
    messages: Mapping[str, envoy.EnvoyMessage]
    """Clusters by the names of pools."""

    @staticmethod
    def of(
        upstreams: Mapping[str, Upstream], settings: EdgeSettings, *, maps_paths: bool = False, attempts: bool = False
    ) -> Pools:
        """Of an API's valid `spec.upstream`. attempts: those that take requests with several attempts."""
        made = {
            name: _made(msgspec.json.encode(upstream), settings, maps_paths, attempts)
            for name, upstream in upstreams.items()
        }
        pools = {name: replace(pool, name=name) for name, (pool, _) in made.items()}
        return Pools(pools, {name: message for name, (_, message) in made.items()})

    def pool(self, name: str) -> Pool:
        """Raises `KeyError` for a name that the API does not have."""
        return self.pools[name]

    def clusters(self, names: Collection[str]) -> Iterator[envoy.EnvoyMessage]:
        """Those of the pools that are used, each once, by the clusters' names."""
        used = {self.pools[name].cluster: self.messages[name] for name in names}
        return (used[name] for name in sorted(used))


def _content(upstream: Upstream, settings: EdgeSettings, maps_paths: bool, attempts: bool) -> envoy.Content:
    targets = [
        envoy.PoolTarget(parse_url(target.url), target.weight, target.zone or "") for target in targets_of(upstream)
    ]
    protocol = parse_url(targets_of(upstream)[0].url, upstream.protocol or None).protocol
    return envoy.Content(
        upstream, targets, protocol, settings.connect_timeout_ms, settings.trusted_ca, maps_paths, attempts
    )


@lru_cache(maxsize=POOLS_KEPT)
def _made(document: bytes, settings: EdgeSettings, maps_paths: bool, attempts: bool) -> tuple[Pool, envoy.EnvoyMessage]:
    """A pool without its name, and its cluster. document: the upstream, as JSON."""
    upstream = msgspec.json.decode(document, type=Upstream)
    cluster = envoy.cluster(_content(upstream, settings, maps_paths, attempts))
    first = parse_url(targets_of(upstream)[0].url)
    return Pool("", envoy.name_of(cluster), upstream.host or first.authority, first.base, maps_paths), cluster


def targets_of(upstream: Upstream) -> list[Target]:
    """Those of a valid pool: of one that has a `url` that one."""
    if upstream.targets is not UNSET:
        return upstream.targets
    return [] if upstream.url is UNSET else [Target(url=upstream.url)]
