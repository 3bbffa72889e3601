from typing import Any

from sdk.policy import ImmediateResponse, RequestAction, RequestContext


def on_request(ctx: RequestContext, params: dict[str, Any]) -> RequestAction:
    return ImmediateResponse(403, {"x-denied-by": "deny-headers"}, b"denied")
