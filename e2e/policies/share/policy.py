import json
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
    ctx.metadata["value"] = params["value"]
    return UpstreamRequestModifications(set_headers={"x-params": describe(params["value"])})


def on_response(ctx: ResponseContext, params: dict[str, Any]) -> ResponseAction:
    return UpstreamResponseModifications(set_headers={"x-metadata": describe(ctx.metadata["value"])})


def describe(value: Any) -> str:
    """The value as JSON, and the Python types of it and of what is in it."""
    inner = [type(item).__name__ for item in (value.values() if isinstance(value, dict) else ())]
    return json.dumps([value, isinstance(value, dict), inner])
