from typing import Any

from sdk.policy import ImmediateResponse, RequestAction, RequestContext


def on_request(ctx: RequestContext, params: dict[str, Any]) -> RequestAction:
    return ImmediateResponse(403, {"x-denied-by": "deny-body", "x-length": str(len(ctx.body or b""))}, b"denied")
