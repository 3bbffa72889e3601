"""Answers requests that lack a header with 401; the upstream never gets them."""

from typing import Any

from sdk.policy import ImmediateResponse, RequestAction, RequestContext


def on_request(ctx: RequestContext, params: dict[str, Any]) -> RequestAction:
    name = params["headerName"]
    if ctx.headers.get(name):
        return None
    headers = {"Content-Type": "text/plain; charset=utf-8", "WWW-Authenticate": "ApiKey"}
    return ImmediateResponse(401, headers, f"This API wants the header {name}.\n")
