from typing import Any

from sdk.policy import (
    Attempt,
    RequestAction,
    RequestContext,
    ResponseAction,
    ResponseContext,
    UpstreamRequestModifications,
    UpstreamResponseModifications,
)


def on_request(ctx: RequestContext, params: dict[str, Any]) -> RequestAction:
    attempts = [Attempt(**attempt) for attempt in params["attempts"]]
    return UpstreamRequestModifications(attempts=attempts, upstream=params.get("upstream"))


def on_response(ctx: ResponseContext, params: dict[str, Any]) -> ResponseAction:
    return UpstreamResponseModifications(append_headers={"x-answered-by": ctx.request.upstream or "nobody"})
