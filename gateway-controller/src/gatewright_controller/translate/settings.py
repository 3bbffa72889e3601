"""What the operator decides for every API of a gateway."""

from __future__ import annotations

import msgspec


class EdgeSettings(msgspec.Struct, frozen=True):
    """Times in milliseconds."""

    request_timeout_ms: int = 60_000
    """From the end of the request until the response begins, for APIs that do not say."""
    idle_timeout_ms: int = 60_000
    """Without a byte in either direction, for APIs that do not say."""
    connect_timeout_ms: int = 5_000
    trusted_ca: str = "/etc/ssl/certs/ca-certificates.crt"
    """PEM file on the node, for https upstreams."""
