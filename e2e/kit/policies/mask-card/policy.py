from __future__ import annotations

import re
from typing import Any

from sdk.policy import (
    RequestAction,
    RequestContext,
    ResponseAction,
    ResponseContext,
    UpstreamRequestModifications,
    UpstreamResponseModifications,
)

CARD = re.compile(rb"\b[0-9]{16}\b")


def on_request(ctx: RequestContext, params: dict[str, Any]) -> RequestAction:
    masked, count = CARD.subn(b"****", ctx.body or b"")
    ctx.metadata["cards"] = count
    return UpstreamRequestModifications(body=masked) if count else None


def on_response(ctx: ResponseContext, params: dict[str, Any]) -> ResponseAction:
    return UpstreamResponseModifications(set_headers={"x-cards": str(ctx.metadata["cards"])})
