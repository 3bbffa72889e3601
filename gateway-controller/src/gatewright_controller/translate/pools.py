"""An API's pools to clusters and what routes say of them.

A cluster is named after its content, without the API's name: APIs with the same pool share one, and a changed one
stands beside the old until routes have moved.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from msgspec import UNSET

from gatewright_controller.model import Upstream
from gatewright_controller.translate import envoy
from gatewright_controller.translate.identity import digest_of
from gatewright_controller.translate.settings import EdgeSettings
from gatewright_controller.upstream import UpstreamUrl, parse_url

MAIN = "main"
"""The pool of operations that name none."""
OTHER = re.compile(r"[^A-Za-z0-9_]+")


@dataclass(frozen=True)
class Pool:
    """What a route says of a pool: its cluster, what goes upstream as `:authority`, and what stands there before paths:
    "" or "/api".
    """

    name: str
    cluster: str
    authority: str
    base: str


@dataclass(frozen=True)
class Pools:
    """Those of one API."""

    urls: Mapping[str, UpstreamUrl]
    settings: EdgeSettings

    @staticmethod
    def of(upstreams: Mapping[str, Upstream], settings: EdgeSettings) -> Pools:
        """Of an API's valid `spec.upstream`."""
        return Pools({name: _url(upstream) for name, upstream in upstreams.items()}, settings)

    def pool(self, name: str) -> Pool:
        """Raises `KeyError` for a name that the API has not."""
        url = self.urls[name]
        return Pool(name, _cluster_name(url, self.settings), url.authority, url.base)

    def clusters(self, names: Collection[str]) -> Iterator[envoy.EnvoyMessage]:
        """Those of the pools that are used, each once, by their names."""
        used = {_cluster_name(self.urls[name], self.settings): self.urls[name] for name in names}
        for name, url in sorted(used.items(), key=lambda item: item[0]):
            yield _cluster(name, url, self.settings)


def _url(upstream: Upstream) -> UpstreamUrl:
    return parse_url(upstream.url, None if upstream.protocol is UNSET else upstream.protocol)


def _cluster_name(url: UpstreamUrl, settings: EdgeSettings) -> str:
    """`orders-internal-8080|HASH`, whose dots would end the cluster's name in the names of Envoy's statistics.

    The base path is the routes' matter, so it is not in the hash.
    """
    content = [url.secure, url.host, url.port, settings.connect_timeout_ms, settings.trusted_ca if url.secure else ""]
    if url.protocol != "http1":
        content.append(url.protocol)
    return f"{OTHER.sub('-', url.authority).strip('-')[:64]}|{digest_of(content)}"


def _cluster(name: str, url: UpstreamUrl, settings: EdgeSettings) -> envoy.EnvoyMessage:
    tls = envoy.Tls(url.host, url.is_address, settings.trusted_ca) if url.secure else None
    return envoy.cluster(
        name,
        host=url.host,
        port=url.port,
        is_address=url.is_address,
        connect_timeout_ms=settings.connect_timeout_ms,
        protocol=url.protocol,
        tls=tls,
    )
