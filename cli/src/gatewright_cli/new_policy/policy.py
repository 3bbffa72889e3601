"""Lets a request pass if it names its tenant, and sends the tenant to the upstream."""

from typing import Any

from sdk.policy import (
    ImmediateResponse,
    RequestAction,
    RequestContext,
    UpstreamRequestModifications,
)


def on_request(ctx: RequestContext, params: dict[str, Any]) -> RequestAction:
    """Once for each request. The three things to change are numbered."""
    # 1. What it reads: also method, path, query_params, cookies, identity, …
    tenants = ctx.headers.get_all(params["header"])
    # 2. What it refuses: the client gets this answer, the upstream no request.
    if len(tenants) != 1:
        message = f"expected one header {params['header']}, got {len(tenants)}\n"
        return ImmediateResponse(400, {"content-type": "text/plain"}, message)
    # 3. What it changes; None would change nothing.
    return UpstreamRequestModifications(set_headers={"x-seen-tenant": tenants[0]})
