import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from sdk.policy import Identity, ImmediateResponse, PolicyMetadata, UpstreamRequestModifications

from sdk import testing

policy = testing.load_policy(__file__)
PLANS = {"blue": "gold", "a/b": "silver"}
PARAMS = testing.params(plans=["gold", "silver"])


class Server:
    """Says which plans there are, or what a test wants it to."""

    def __init__(self, said: Any = None) -> None:
        self.said = said
        self.asked = 0

    async def answer(self, _request: web.Request) -> web.Response:
        self.asked += 1
        return web.json_response(self.said, status=200 if self.said is not None else 503)

    @asynccontextmanager
    async def shared(self) -> AsyncIterator[Any]:
        application = web.Application()
        application.router.add_get("/plans", self.answer)
        async with TestServer(application) as server:
            operator = {"url": str(server.make_url("/plans")), "refreshSeconds": 60}
            async with testing.setup(policy, operator) as made:
                yield made


async def ask(shared: Any, tenant: str = "blue", member_of: object = "blue", operation: str = "GET /{tenant}/x") -> Any:
    about = PolicyMetadata("tenant-plan", "v1.0.0", "orders", operation=operation)
    with testing.prepared(policy, PARAMS, about) as prepared:
        ctx = testing.request(prepared=prepared, shared=shared, path_params={"tenant": tenant} if tenant else {})
        if member_of is not None:
            ctx.identity = Identity("ann", claims={"tenant": member_of})
        return await policy.on_request(ctx, PARAMS)


def answered(said: Any, *arguments: Any) -> Any:
    async def run() -> Any:
        async with Server(said).shared() as shared:
            return await ask(shared, *arguments)

    return asyncio.run(run())


@pytest.mark.parametrize(("tenant", "plan"), [("blue", "gold"), ("a/b", "silver")])
def test_upstream_is_told_the_plan_of_the_tenant_in_the_path(tenant: str, plan: str) -> None:
    assert answered(PLANS, tenant, tenant) == UpstreamRequestModifications(set_headers={"x-plan": plan})


@pytest.mark.parametrize(
    ("tenant", "member_of"),
    [
        ("blue", None),
        ("blue", "green"),
        ("green", "blue"),
        ("green", "green"),  # its plan is free
        ("blue", ["blue"]),
        ("", ""),
        ("", None),
    ],
)
def test_any_other_is_refused(tenant: str, member_of: object) -> None:
    assert answered(PLANS, tenant, member_of) == ImmediateResponse(403)


@pytest.mark.parametrize("said", [None, [], {"blue": 7}, "gold"])
def test_without_plans_nobody_passes(said: Any) -> None:
    assert answered(said) == ImmediateResponse(503, {"retry-after": "5"})


def test_one_server_is_asked_once_for_all_attachments_and_again_when_it_is_time() -> None:
    async def run() -> None:
        server = Server(PLANS)
        with testing.clock() as clock:
            async with server.shared() as shared:
                for operation in ("GET /{tenant}/x", "GET /{tenant}/y", ""):
                    assert (await ask(shared, operation=operation)).set_headers == {"x-plan": "gold"}
                assert server.asked == 1
                server.said = {"blue": "silver"}
                await clock.advance_async(70)
                assert (await ask(shared)).set_headers == {"x-plan": "silver"}
                server.said = None  # away: what was known stays
                await clock.advance_async(70)
                assert (await ask(shared)).set_headers == {"x-plan": "silver"}

    asyncio.run(run())


def test_an_operation_without_a_tenant_is_refused_at_publish() -> None:
    about = PolicyMetadata("tenant-plan", "v1.0.0", "orders", operation="GET /x")
    with (
        pytest.raises(ValueError, match=r"with \{tenant\} in its path, got GET /x"),
        testing.prepared(policy, PARAMS, about),
    ):
        pass
