"""`pytest policies/my_policy`: without a gateway, with a service of its own."""

import asyncio

from aiohttp import web
from aiohttp.test_utils import TestServer
from sdk import testing
from sdk.policy import ImmediateResponse, RequestAction, UpstreamRequestModifications

policy = testing.load_policy(__file__)


async def plan(request: web.Request) -> web.Response:
    """A stand-in for your service."""
    if request.query["tenant"] == "blue":
        return web.json_response({"plan": "gold"})
    return web.json_response({}, status=404)


async def act(tenant: str) -> RequestAction:
    """The policy's action on a request of this tenant."""
    service = web.Application()
    service.router.add_get("/plans", plan)
    async with TestServer(service) as server:
        params = testing.params(url=str(server.make_url("/plans")))
        async with testing.prepared(policy, params) as client:
            ctx = testing.request(headers={"x-tenant": tenant}, prepared=client)
            action: RequestAction = await policy.on_request(ctx, params)
            return action


def test_the_upstream_gets_the_plan() -> None:
    wanted = UpstreamRequestModifications(set_headers={"x-plan": "gold"})
    assert asyncio.run(act("blue")) == wanted


def test_without_an_answer_the_client_may_ask_again() -> None:
    action = asyncio.run(act("green"))
    assert isinstance(action, ImmediateResponse)
    assert (action.status_code, action.headers) == (503, {"retry-after": "5"})
