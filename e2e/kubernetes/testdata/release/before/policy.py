from typing import Any

from sdk.policy import ResponseAction, ResponseContext, UpstreamResponseModifications


def on_response(ctx: ResponseContext, params: dict[str, Any]) -> ResponseAction:
    return UpstreamResponseModifications(set_headers={"x-release": "v1.0.0"})
