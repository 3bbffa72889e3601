"""Lets members of the tenant in the path pass, with a number of requests in a day that depends on the tenant's plan.

All attachments in a process share the table of plans, which one HTTP client with the service's token fetches in the
background: `setup` makes both. A policy before this one sets `ctx.identity`, whose claim `tenant` names the client's
tenant. The upstream gets the plan in x-plan. Until the plans are fetched, the answer is 503.

The store counts the requests of a tenant on each day (UTC), for all processes, and with a Valkey for all nodes.
Requests that get 429 count too. While the store does not answer, executions fail with the class `unavailable`.
"""

import hashlib
import math
from collections.abc import AsyncIterator, Mapping
from typing import Any, NamedTuple, TypeAlias

import aiohttp
from sdk import clock
from sdk.background import Fresh, NotReadyError
from sdk.policy import ImmediateResponse, PolicyMetadata, RequestAction, RequestContext, UpstreamRequestModifications
from sdk.store import AsyncStore

FETCH_SECONDS = 5.0
DAY = 86_400
Plans: TypeAlias = Fresh[dict[str, str]]


class Prepared(NamedTuple):
    """The prepared value of one attachment."""

    requests_per_day: Mapping[str, int]
    store: AsyncStore


async def setup(system_params: dict[str, Any]) -> AsyncIterator[Plans]:
    """The plans by tenant."""
    token = {"authorization": f"Bearer {system_params['token'].reveal()}"}
    timeout = aiohttp.ClientTimeout(total=FETCH_SECONDS)
    async with aiohttp.ClientSession(headers=token, timeout=timeout) as client:

        async def plans() -> dict[str, str]:
            async with client.get(system_params["url"], raise_for_status=True, allow_redirects=False) as answer:
                table = await answer.json()
            if not isinstance(table, dict) or not all(isinstance(plan, str) for plan in table.values()):
                raise TypeError(f"{system_params['url']}: expected an object from tenants to plans")
            return table

        async with Fresh(system_params["refreshSeconds"], plans, name="plans") as fresh:
            yield fresh


def prepare(params: dict[str, Any], metadata: PolicyMetadata) -> Prepared:
    """The allowed plans, and the store that counts requests."""
    if metadata.operation and "/{tenant}" not in metadata.operation:
        raise ValueError(f"expected an operation with {{tenant}} in its path, got {metadata.operation}")
    return Prepared(params["requestsPerDay"], AsyncStore())


async def on_request(ctx: RequestContext, params: dict[str, Any]) -> RequestAction:
    identity, tenant = ctx.identity, ctx.path_params.get("tenant")
    if identity is None or tenant is None or identity.claims.get("tenant") != tenant:
        return ImmediateResponse(403)
    shared: Plans = ctx.shared
    try:
        plan = shared.value.get(tenant, "free")
    except NotReadyError:
        return ImmediateResponse(503, {"retry-after": "5"})
    prepared: Prepared = ctx.prepared
    if plan not in prepared.requests_per_day:
        return ImmediateResponse(403)
    day, since = divmod(clock.now(), DAY)
    if await count_request(prepared.store, tenant, int(day)) > prepared.requests_per_day[plan]:
        return ImmediateResponse(429, {"retry-after": str(math.ceil(DAY - since))})
    return UpstreamRequestModifications(set_headers={"x-plan": plan})


async def count_request(store: AsyncStore, tenant: str, day: int) -> int:
    """The tenant's requests on that day, this one included. The name is hashed, since clients may make it long."""
    return await store.increment(f"{day} {hashlib.sha256(tenant.encode()).hexdigest()}", ttl=DAY)
