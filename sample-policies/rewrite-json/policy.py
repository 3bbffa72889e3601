"""Adds a field to JSON objects in both directions. Bodies that are not JSON objects pass unchanged."""

import json
from typing import Any

from sdk.policy import (
    Headers,
    RequestAction,
    RequestContext,
    ResponseAction,
    ResponseContext,
    UpstreamRequestModifications,
    UpstreamResponseModifications,
)


def on_request(ctx: RequestContext, params: dict[str, Any]) -> RequestAction:
    body = rewritten(ctx.headers, ctx.body, params)
    return None if body is None else UpstreamRequestModifications(body=body)


def on_response(ctx: ResponseContext, params: dict[str, Any]) -> ResponseAction:
    body = rewritten(ctx.headers, ctx.body, params)
    return None if body is None else UpstreamResponseModifications(body=body)


def rewritten(headers: Headers, body: bytes | None, params: dict[str, Any]) -> bytes | None:
    """The body with the field; None if it is no JSON object, or is compressed."""
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if not body or "content-encoding" in headers or not media_type.endswith(("/json", "+json")):
        return None
    try:
        document = json.loads(body.decode())
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict):
        return None
    return json.dumps({**document, params["field"]: params["value"]}).encode()  # ASCII can write half of a pair, too
