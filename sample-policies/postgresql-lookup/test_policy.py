"""Without a database; e2e/docs/test_samples.py asks a PostgreSQL."""

from __future__ import annotations

import asyncio
import socket

from sdk import testing
from sdk.policy import ImmediateResponse

policy = testing.load_policy(__file__)
PARAMS = testing.params(header="x-tenant")


def answer(*tenants: str) -> object:
    """Without a listener at the database's port."""

    async def ask(port: int) -> object:
        system = {"host": "127.0.0.1", "port": port, "database": "d", "user": "u", "password": testing.secret("p")}
        async with testing.setup(policy, testing.params(**system)) as pool:
            request = testing.request(headers=[("x-tenant", tenant) for tenant in tenants], shared=pool)
            return await policy.on_request(request, PARAMS)

    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        return asyncio.run(ask(reserved.getsockname()[1]))


def test_a_database_that_is_away_is_a_503_with_a_time() -> None:
    assert answer("blue") == ImmediateResponse(503, {"retry-after": "5"})


def test_a_request_that_does_not_say_which_tenant_is_refused_without_asking() -> None:
    assert answer() == answer("blue", "green") == ImmediateResponse(400, body=b"which tenant?")
