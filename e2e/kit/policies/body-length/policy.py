from typing import Any

from sdk.policy import RequestAction, RequestContext, UpstreamRequestModifications


def on_request(ctx: RequestContext, params: dict[str, Any]) -> RequestAction:
    return UpstreamRequestModifications(set_headers={"x-body-length": str(len(ctx.body or b""))})
