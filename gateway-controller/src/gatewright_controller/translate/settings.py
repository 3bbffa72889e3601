"""What the operator decides for every API of a gateway."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class EdgeSettings:
    route_timeout_ms: int = 60_000
    """From the end of the request to the end of the response; 0: no limit."""
    connect_timeout_ms: int = 5_000
    trusted_ca: str = "/etc/ssl/certs/ca-certificates.crt"
    """PEM file on the node, for https upstreams."""
