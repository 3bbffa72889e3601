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
    value = (ctx.headers.get(params["header"]) or "").encode(errors="surrogateescape")
    return UpstreamRequestModifications(set_headers={"x-seen": value.hex()})


def on_response(ctx: ResponseContext, params: dict[str, Any]) -> ResponseAction:
    return UpstreamResponseModifications(append_headers={"set-cookie": ["python=1", "snake=2"]})
