"""Sends the plan of the request's tenant to upstream, from a table in PostgreSQL; unknown tenants get 403.

All attachments in a process share a pool of connections, which `setup` makes. Connections are opened on demand, so that
a gateway starts while the database is down. If the database does not answer in time, the client gets 503.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from typing import Any, TypeAlias

import asyncpg
from sdk.policy import ImmediateResponse, RequestAction, RequestContext, UpstreamRequestModifications

CONNECTIONS = 10
"""The most connections of each executor process."""
CONNECT_SECONDS, QUERY_SECONDS = 0.4, 0.4
PLAN = "SELECT plan FROM plans WHERE tenant = $1"
AWAY = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)
Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
log = logging.getLogger(__name__)


async def setup(system_params: dict[str, Any]) -> AsyncIterator[Pool]:
    """The connection pool of this process, for all attachments."""
    where = {name: system_params[name] for name in ("host", "port", "database", "user")}
    pool = asyncpg.create_pool(
        **where,
        password=system_params["password"].reveal(),
        min_size=0,
        max_size=CONNECTIONS,
        timeout=CONNECT_SECONDS,
        command_timeout=QUERY_SECONDS,
    )
    async with pool:
        yield pool


async def on_request(ctx: RequestContext, params: dict[str, Any]) -> RequestAction:
    tenants = ctx.headers.get_all(params["header"])
    if len(tenants) != 1:  # upstream would get all of them, and might use another one
        return ImmediateResponse(400, body=b"which tenant?")
    pool: Pool = ctx.shared
    try:
        plan = await pool.fetchval(PLAN, tenants[0], timeout=QUERY_SECONDS)
    except AWAY as error:
        log.warning("the database does not answer: %s", error or type(error).__name__)
        return ImmediateResponse(503, {"retry-after": "5"})
    if plan is None:
        return ImmediateResponse(403)
    return UpstreamRequestModifications(set_headers={"x-plan": plan})
