"""In both phases, reads a header and a parameter, sets a header, and removes another."""

from __future__ import annotations

from typing import Any

from sdk.policy import (
    RequestAction,
    RequestContext,
    ResponseAction,
    ResponseContext,
    UpstreamRequestModifications,
    UpstreamResponseModifications,
)


def on_request(ctx: RequestContext, params: dict[str, Any]) -> RequestAction:
    tenant = ctx.headers.get("x-tenant", "")
    return UpstreamRequestModifications(
        set_headers={params["headerName"]: params["headerValue"] + tenant}, remove_headers=["x-internal"]
    )


def on_response(ctx: ResponseContext, params: dict[str, Any]) -> ResponseAction:
    kind = ctx.headers.get("content-type", "")
    return UpstreamResponseModifications(
        set_headers={params["headerName"]: params["headerValue"] + kind}, remove_headers=["x-internal"]
    )
