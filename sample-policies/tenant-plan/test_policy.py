import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from sdk import testing
from sdk.policy import Identity, ImmediateResponse, PolicyMetadata, UpstreamRequestModifications
from sdk.store import StoreUnavailableError

policy = testing.load_policy(__file__)
TOKEN = testing.secret("token-of-the-plans")
PLANS = {"blue": "gold", "green": "gold", "a/b": "silver"}
PARAMS = testing.params(requestsPerDay={"gold": 2, "silver": 1})


class Server:
    """A server of plans, for clients with its token; without `plans` it answers 503."""

    def __init__(self, plans: Any = None) -> None:
        self.plans = plans
        self.asked = 0

    async def answer(self, request: web.Request) -> web.Response:
        self.asked += 1
        if request.headers.getall("authorization") != [f"Bearer {TOKEN.reveal()}"]:
            return web.Response(status=401)
        return web.json_response(self.plans, status=200 if self.plans is not None else 503)

    @asynccontextmanager
    async def shared(self, token: Any = TOKEN) -> AsyncIterator[Any]:
        application = web.Application()
        application.router.add_get("/plans", self.answer)
        async with TestServer(application) as server:
            operator = {"url": str(server.make_url("/plans")), "token": token, "refreshSeconds": 60}
            async with testing.setup(policy, operator) as shared:
                yield shared


async def ask(shared: Any, tenant: str = "blue", member_of: object = "blue", operation: str = "GET /{tenant}/x") -> Any:
    about = PolicyMetadata("tenant-plan", "v1.0.0", "orders", operation=operation)
    with testing.prepared(policy, PARAMS, about) as prepared:
        ctx = testing.request(prepared=prepared, shared=shared, path_params={"tenant": tenant} if tenant else {})
        if member_of is not None:
            ctx.identity = Identity("ann", claims={"tenant": member_of})
        return await policy.on_request(ctx, PARAMS)


def answered(plans: Any, *arguments: Any, token: Any = TOKEN) -> Any:
    async def run() -> Any:
        async with Server(plans).shared(token) as shared:
            return await ask(shared, *arguments)

    return asyncio.run(run())


def with_plans(steps: Callable[[Any, Any, Any], Awaitable[None]]) -> None:
    """Runs steps(shared, clock, store) with all plans, and one store for all attachments."""

    async def run() -> None:
        with testing.clock() as clock, testing.store() as store:
            async with Server(PLANS).shared() as shared:
                await steps(shared, clock, store)

    asyncio.run(run())


@pytest.mark.parametrize(("tenant", "plan"), [("blue", "gold"), ("a/b", "silver")])
def test_upstream_gets_the_plan_of_the_tenant_in_the_path(tenant: str, plan: str) -> None:
    assert answered(PLANS, tenant, tenant) == UpstreamRequestModifications(set_headers={"x-plan": plan})


@pytest.mark.parametrize(
    ("tenant", "member_of"),
    [
        ("blue", None),
        ("blue", "green"),
        ("green", "blue"),
        ("red", "red"),  # its plan is free
        ("blue", ["blue"]),
        ("", ""),
        ("", None),
    ],
)
def test_other_requests_are_refused_and_not_counted(tenant: str, member_of: object) -> None:
    with testing.store() as store:
        assert answered(PLANS, tenant, member_of) == ImmediateResponse(403)
        assert store.calls == 0


@pytest.mark.parametrize("plans", [None, [], {"blue": 7}, "gold"])
def test_without_plans_no_request_passes(plans: Any) -> None:
    assert answered(plans) == ImmediateResponse(503, {"retry-after": "5"})


@pytest.mark.parametrize("token", ["another-token", "two\r\nlines", "ä"])
def test_without_the_token_there_are_no_plans(token: str, caplog: pytest.LogCaptureFixture) -> None:
    assert answered(PLANS, token=testing.secret(token)) == ImmediateResponse(503, {"retry-after": "5"})
    assert token not in caplog.text


def test_the_limit_of_a_plan_counts_the_requests_of_all_operations() -> None:
    async def steps(shared: Any, clock: Any, _store: Any) -> None:
        assert (await ask(shared)).set_headers == {"x-plan": "gold"}
        assert (await ask(shared, operation="GET /{tenant}/y")).set_headers == {"x-plan": "gold"}
        refused = await ask(shared)
        assert refused.status_code == 429
        assert (await ask(shared, "green", "green")).set_headers == {"x-plan": "gold"}  # has a limit of its own
        await clock.advance_async(int(refused.headers["retry-after"]))
        assert (await ask(shared)).set_headers == {"x-plan": "gold"}

    with_plans(steps)


def test_the_names_of_tenants_may_be_long() -> None:
    long = "é" * 10_000
    with testing.store() as store:
        assert answered({long: "gold"}, long, long).set_headers == {"x-plan": "gold"}
        assert store.calls == 1


def test_without_the_store_no_request_passes() -> None:
    async def steps(shared: Any, _clock: Any, store: Any) -> None:
        store.away = True
        with pytest.raises(StoreUnavailableError):
            await ask(shared)
        store.away = False
        assert (await ask(shared)).set_headers == {"x-plan": "gold"}

    with_plans(steps)


def test_plans_are_fetched_once_for_all_attachments_and_then_again() -> None:
    async def run() -> None:
        server = Server(PLANS)
        with testing.clock() as clock:
            async with server.shared() as shared:
                for operation in ("GET /{tenant}/x", "GET /{tenant}/y", ""):
                    assert (await ask(shared, operation=operation)).set_headers == {"x-plan": "gold"}
                assert server.asked == 1
                server.plans = {"blue": "silver"}
                await clock.advance_async(70)
                assert (await ask(shared)).set_headers == {"x-plan": "silver"}
                server.plans = None  # the server fails: the last plans stay
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
