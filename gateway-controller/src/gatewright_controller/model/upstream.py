"""Where an API's requests go."""

from __future__ import annotations

from typing import Literal

from msgspec import UNSET, UnsetType

from gatewright_controller.model.common import Strict

UpstreamProtocol = Literal["http1", "http2", "auto"]


class Upstream(Strict, frozen=True):
    """Where requests go."""

    url: str
    """`http://host[:port][/base]` or `https://…`; the part of the path after the context is put behind the base.
    `grpc://…` and `grpcs://…` are the same with `protocol: http2`, without and with TLS."""
    protocol: UpstreamProtocol | UnsetType = UNSET
    """What is spoken with it: `http1`, `http2`, or `auto`: over TLS what it chooses (ALPN), in clear what the client
    speaks. Unset: `http1`, and `http2` with a `grpc://` or `grpcs://` URL."""


class Upstreams(Strict, frozen=True):
    """The upstreams of an API; there is one so far."""

    main: Upstream
