"""Greets by name, for upstream and for the client."""

from typing import Any

from sdk.policy import (
    ImmediateResponse,
    RequestAction,
    RequestContext,
    ResponseAction,
    ResponseContext,
    UpstreamRequestModifications,
    UpstreamResponseModifications,
)

LONGEST_NAME = 40


def on_request(ctx: RequestContext, params: dict[str, Any]) -> RequestAction:
    name = ctx.headers.get("x-name") or "world"
    if len(name) > LONGEST_NAME:
        return ImmediateResponse(400, body=b"x-name: too long\n")
    return UpstreamRequestModifications(set_headers={"x-greeting": f"{params['greeting']} {name}"})


def on_response(ctx: ResponseContext, params: dict[str, Any]) -> ResponseAction:
    return UpstreamResponseModifications(set_headers={"x-greeted": "yes"})
