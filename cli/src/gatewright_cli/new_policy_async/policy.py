"""Asks a service which plan a tenant has, and sends the plan to the upstream."""

import logging
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
from sdk.policy import (
    ImmediateResponse,
    RequestAction,
    RequestContext,
    UpstreamRequestModifications,
)

log = logging.getLogger(__name__)


async def prepare(params: dict[str, Any]) -> AsyncIterator[aiohttp.ClientSession]:
    """One client for all requests: made before the first, closed after the last."""
    async with aiohttp.ClientSession() as client:
        yield client


async def on_request(ctx: RequestContext, params: dict[str, Any]) -> RequestAction:
    """Once for each request. The three things to change are numbered."""
    # 1. What it reads, and what it refuses.
    tenants = ctx.headers.get_all("x-tenant")
    if len(tenants) != 1:
        return ImmediateResponse(400, {"content-type": "text/plain"}, "which tenant?\n")
    # 2. What it asks, within the time that the API allows, less some to answer.
    limit = aiohttp.ClientTimeout(total=ctx.time_remaining() * 0.8)
    query = {"tenant": tenants[0]}
    client: aiohttp.ClientSession = ctx.prepared
    try:
        async with client.get(params["url"], params=query, timeout=limit) as answer:
            answer.raise_for_status()
            plan = str((await answer.json())["plan"])
    except (aiohttp.ClientError, TimeoutError, ValueError, LookupError) as error:
        log.warning("the service gave no plan: %s: %s", type(error).__name__, error)
        return ImmediateResponse(503, {"retry-after": "5"})
    # 3. What it changes; None would change nothing.
    return UpstreamRequestModifications(set_headers={"x-plan": plan})
