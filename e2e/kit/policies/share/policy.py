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
    """The value as JSON, whether it is a dict, and the type of each of its items; a read-only list is a list."""
    items = value.items() if isinstance(value, dict) else ()
    inner = {key: "list" if isinstance(item, list) else type(item).__name__ for key, item in items}
    return json.dumps([value, isinstance(value, dict), inner])
