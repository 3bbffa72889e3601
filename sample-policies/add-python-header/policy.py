"""Sets a header of the request to upstream and of the response to the client."""

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
    return UpstreamRequestModifications(set_headers={params["headerName"]: params["headerValue"]})


def on_response(ctx: ResponseContext, params: dict[str, Any]) -> ResponseAction:
    return UpstreamResponseModifications(set_headers={params["headerName"]: params["headerValue"]})
