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
    return UpstreamRequestModifications(append_headers={"x-order": mark(ctx, params)})


def on_response(ctx: ResponseContext, params: dict[str, Any]) -> ResponseAction:
    return UpstreamResponseModifications(append_headers={"x-order": mark(ctx, params)})


def mark(ctx: RequestContext | ResponseContext, params: dict[str, Any]) -> str:
    names = [name for name in params["look"] if name in ctx.headers]
    return f"{params['name']}({' '.join(names)})"
