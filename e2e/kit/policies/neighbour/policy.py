from typing import Any

from sdk.policy import ImmediateResponse, RequestAction, RequestContext


def on_request(ctx: RequestContext, params: dict[str, Any]) -> RequestAction:
    return None if ctx.headers.get("x-key") == ctx.policy.system_params["key"] else ImmediateResponse(403)
