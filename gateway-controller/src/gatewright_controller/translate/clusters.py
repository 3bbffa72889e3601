"""An upstream's URL to a cluster, named after its content: a changed one stands beside the old until routes moved."""

from __future__ import annotations

from gatewright_controller.translate import envoy
from gatewright_controller.translate.identity import digest_of
from gatewright_controller.translate.settings import EdgeSettings
from gatewright_controller.upstream import UpstreamUrl


def cluster_name(api: str, url: UpstreamUrl, settings: EdgeSettings) -> str:
    """`API|HASH`: the base path is the routes' matter, so it is not in the hash."""
    content = [url.secure, url.host, url.port, settings.connect_timeout_ms, settings.trusted_ca if url.secure else ""]
    if url.protocol != "http1":
        content.append(url.protocol)
    return f"{api}|{digest_of(content)[:16]}"


def render_cluster(api: str, url: UpstreamUrl, settings: EdgeSettings) -> envoy.EnvoyMessage:
    """Envoy's cluster of an upstream: DNS or an address, TLS where the URL is https."""
    tls = envoy.Tls(url.host, url.is_address, settings.trusted_ca) if url.secure else None
    return envoy.cluster(
        cluster_name(api, url, settings),
        host=url.host,
        port=url.port,
        is_address=url.is_address,
        connect_timeout_ms=settings.connect_timeout_ms,
        protocol=url.protocol,
        tls=tls,
    )
