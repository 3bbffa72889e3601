"""Sends requests with a certain header, or a share of all requests, to another upstream of the API: a canary.

    upstream: canary
    header: {name: X-Canary, values: ["1"]}   # requests with this header
    percent: 5                                # and one in twenty of the others
    sticky: true                              # the same clients each time

Any client can send the header, but it can choose only the upstream that this attachment names.
"""

import hashlib
import random
from typing import Any

from sdk.policy import RequestAction, RequestContext, UpstreamRequestModifications


def on_request(ctx: RequestContext, params: dict[str, Any]) -> RequestAction:
    if has_header(ctx, params) or position(ctx, params["sticky"]) * 100 < params["percent"]:
        return UpstreamRequestModifications(upstream=params["upstream"])
    return None


def has_header(ctx: RequestContext, params: dict[str, Any]) -> bool:
    header = params.get("header")
    return header is not None and not set(header["values"]).isdisjoint(ctx.headers.get_all(header["name"]))


def position(ctx: RequestContext, sticky: bool) -> float:
    """A number from 0 to below 1, evenly distributed; sticky: always the same for a client address, in any process."""
    if not sticky:
        return random.random()  # noqa: S311 - no secret
    address = ctx.client_address.rpartition(":")[0]
    return int.from_bytes(hashlib.sha256(address.encode()).digest()[:6]) / 2**48
