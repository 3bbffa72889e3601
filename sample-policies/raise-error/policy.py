"""Raises an exception in the phase that its parameters name. The log has its message and line, the client neither."""

from typing import Any

from sdk.policy import RequestAction, RequestContext, ResponseAction, ResponseContext


def on_request(ctx: RequestContext, params: dict[str, Any]) -> RequestAction:
    if params["phase"] == "request":
        raise RuntimeError(params["message"])
    return None


def on_response(ctx: ResponseContext, params: dict[str, Any]) -> ResponseAction:
    if params["phase"] == "response":
        raise RuntimeError(params["message"])
    return None
