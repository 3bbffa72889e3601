"""Lets members of the tenant that the path names pass, as many requests in a day as the tenant's plan has.

The plans are one table for all attachments in a process, fetched in the background by one client, which has the token
of their service: `setup` makes both. A policy before this one has found out who asks (`ctx.identity`), and of which
tenant, in the claim `tenant`. Upstream is told the plan in x-plan. Until there are plans, the answer is 503.

What a tenant has asked on a day (UTC) is counted in the store, for all processes, and with a Valkey for all nodes. What
is refused with 429 counts too. While the store does not answer nobody passes: that is the failure `unavailable`.
"""

import hashlib
import math
from collections.abc import AsyncIterator, Mapping
from typing import Any, NamedTuple, TypeAlias

import aiohttp
from sdk.background import Fresh, NotReadyError
from sdk.policy import ImmediateResponse, PolicyMetadata, RequestAction, RequestContext, UpstreamRequestModifications
from sdk.store import AsyncStore

from sdk import clock

FETCH_SECONDS = 5.0
DAY = 86_400
Plans: TypeAlias = Fresh[dict[str, str]]


class Prepared(NamedTuple):
    """Of one attachment."""

    requests_per_day: Mapping[str, int]
    store: AsyncStore


async def setup(system_params: dict[str, Any]) -> AsyncIterator[Plans]:
    """The plans by tenant."""
    token = {"authorization": f"Bearer {system_params['token'].reveal()}"}
    timeout = aiohttp.ClientTimeout(total=FETCH_SECONDS)
    async with aiohttp.ClientSession(headers=token, timeout=timeout) as client:

        async def plans() -> dict[str, str]:
            async with client.get(system_params["url"], raise_for_status=True, allow_redirects=False) as answer:
                found = await answer.json()
            if not isinstance(found, dict) or not all(isinstance(plan, str) for plan in found.values()):
                raise TypeError(f"{system_params['url']}: expected an object from tenants to plans")
            return found

        async with Fresh(system_params["refreshSeconds"], plans, name="plans") as fresh:
            yield fresh


def prepare(params: dict[str, Any], metadata: PolicyMetadata) -> Prepared:
    """The plans that may ask, and where their requests are counted."""
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
    if await asked(prepared.store, tenant, int(day)) > prepared.requests_per_day[plan]:
        return ImmediateResponse(429, {"retry-after": str(math.ceil(DAY - since))})
    return UpstreamRequestModifications(set_headers={"x-plan": plan})


async def asked(store: AsyncStore, tenant: str, day: int) -> int:
    """How often the tenant has asked on that day, with this time. What clients name is hashed: it may be long."""
    return await store.increment(f"{day} {hashlib.sha256(tenant.encode()).hexdigest()}", ttl=DAY)
