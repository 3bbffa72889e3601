from typing import Any

from sdk.policy import RequestAction, RequestContext, ResponseAction, ResponseContext, UpstreamRequestModifications


def on_request(ctx: RequestContext, params: dict[str, Any]) -> RequestAction:
    return UpstreamRequestModifications(set_headers={"X-Custom": "value"})


def on_response(ctx: ResponseContext, params: dict[str, Any]) -> ResponseAction:
    return None
