"""Where an API's requests go."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from gatewright_controller.model.common import ResourceName, Strict

UpstreamProtocol = Literal["http1", "http2", "auto"]


class Upstream(Strict, frozen=True):
    """Where requests go."""

    url: str
    """`http://host[:port][/base]` or `https://…`; the part of the path after the context is put behind the base.
    `grpc://…` and `grpcs://…` are the same with `protocol: http2`, without and with TLS."""
    protocol: UpstreamProtocol | UnsetType = UNSET
    """What is spoken with it: `http1`, `http2`, or `auto`: over TLS what it chooses (ALPN), in clear what the client
    speaks. Unset: `http1`, and `http2` with a `grpc://` or `grpcs://` URL."""


Upstreams = Annotated[dict[ResourceName, Upstream], Meta(min_length=1, max_length=100)]
"""The pools of an API by their names. `main` is the one that operations use which name none."""
