from typing import Any

from sdk.policy import RequestAction, RequestContext, UpstreamRequestModifications


def on_request(ctx: RequestContext, params: dict[str, Any]) -> RequestAction:
    return UpstreamRequestModifications(**params)
