"""Lets members of the tenant that the path names pass, if the tenant's plan is one of those that the operation is for.

The plans are one table for all attachments in a process, fetched in the background by one client: `setup` makes both.
A policy before this one has found out who asks (`ctx.identity`), and of which tenant, in the claim `tenant`. Upstream
is told the plan in x-plan. Until there are plans, the answer is 503.
"""

from collections.abc import AsyncIterator
from typing import Any, TypeAlias

import aiohttp
from sdk.background import Fresh, NotReadyError
from sdk.policy import ImmediateResponse, PolicyMetadata, RequestAction, RequestContext, UpstreamRequestModifications

FETCH_SECONDS = 5.0
Plans: TypeAlias = Fresh[dict[str, str]]


async def setup(system_params: dict[str, Any]) -> AsyncIterator[Plans]:
    """The plans by tenant."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=FETCH_SECONDS)) as client:

        async def plans() -> dict[str, str]:
            async with client.get(system_params["url"], raise_for_status=True) as answer:
                found = await answer.json()
            if not isinstance(found, dict) or not all(isinstance(plan, str) for plan in found.values()):
                raise TypeError(f"{system_params['url']}: expected an object from tenants to plans")
            return found

        async with Fresh(system_params["refreshSeconds"], plans, name="plans") as fresh:
            yield fresh


def prepare(params: dict[str, Any], metadata: PolicyMetadata) -> frozenset[str]:
    """The plans that may ask."""
    if metadata.operation and "/{tenant}" not in metadata.operation:
        raise ValueError(f"expected an operation with {{tenant}} in its path, got {metadata.operation}")
    return frozenset(params["plans"])


async def on_request(ctx: RequestContext, params: dict[str, Any]) -> RequestAction:
    identity, tenant = ctx.identity, ctx.path_params.get("tenant")
    if identity is None or tenant is None or identity.claims.get("tenant") != tenant:
        return ImmediateResponse(403)
    shared: Plans = ctx.shared
    try:
        plan = shared.value.get(tenant, "free")
    except NotReadyError:
        return ImmediateResponse(503, {"retry-after": "5"})
    if plan not in ctx.prepared:
        return ImmediateResponse(403)
    return UpstreamRequestModifications(set_headers={"x-plan": plan})
