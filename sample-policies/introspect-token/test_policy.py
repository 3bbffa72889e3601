import asyncio
import base64
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from sdk.policy import ImmediateResponse, PolicyMetadata

from sdk import testing

policy = testing.load_policy(__file__)


class Server:
    """An introspection endpoint; `tokens` are those that it knows."""

    def __init__(self, **tokens: Any) -> None:
        self.tokens = tokens
        self.asked: list[str] = []
        self.authorization: set[str] = set()
        self.status = 200

    async def answer(self, request: web.Request) -> web.Response:
        token = str((await request.post())["token"])
        self.asked.append(token)
        self.authorization.add(request.headers["authorization"])
        return web.json_response(self.tokens.get(token, {"active": False}), status=self.status)

    @asynccontextmanager
    async def prepared(self, **more: Any) -> AsyncIterator[tuple[Any, dict[str, Any]]]:
        """What the policy has prepared, and its parameters."""
        application = web.Application()
        application.router.add_post("/introspect", self.answer)
        async with TestServer(application) as server:
            operator = {"url": str(server.make_url("/introspect")), "clientId": "gate:way", "clientSecret": "p ß"}
            about = PolicyMetadata("introspect-token", "v1.0.0", system_params=testing.params(operator))
            params = testing.params({"scopes": [], "cacheSeconds": 10} | more)
            async with testing.prepared(policy, params, about) as made:
                yield made, params


async def ask(made: tuple[Any, dict[str, Any]], authorization: str = "Bearer good", timeout: float = 1.0) -> Any:
    lines = [("authorization", line) for line in authorization.split("\n")]
    ctx = testing.request(headers=lines, prepared=made[0], timeout=timeout)
    action = await policy.on_request(ctx, made[1])
    return action if action is not None else ctx.metadata["token"]


GOOD = {"active": True, "scope": "read write", "sub": "ada"}


def test_an_active_token_passes_and_the_server_is_asked_once() -> None:
    async def run() -> None:
        server = Server(good=GOOD)
        async with server.prepared(scopes=["write"]) as made:
            assert [await ask(made), await ask(made), await ask(made, "bearer good")] == [GOOD] * 3
        assert server.asked == ["good"]
        (authorization,) = server.authorization
        assert basic(authorization) == ("gate%3Away", "p+%C3%9F")

    asyncio.run(run())


def basic(authorization: str) -> tuple[str, str]:
    name, _, password = base64.b64decode(authorization.removeprefix("Basic ")).decode().partition(":")
    return name, password


@pytest.mark.parametrize(
    ("authorization", "status", "says"),
    [
        ("Bearer other", 401, 'Bearer error="invalid_token"'),
        ("Bearer good", 403, 'Bearer error="insufficient_scope", scope="admin delete"'),
        ("Basic YTpi", 401, "Bearer"),
        ("Bearer \udcff", 401, "Bearer"),
        ("", 401, "Bearer"),
        ("Bearer good\nBearer other", 401, "Bearer"),
    ],
)
def test_any_other_is_refused(authorization: str, status: int, says: str) -> None:
    async def run() -> Any:
        async with Server(good=GOOD).prepared(scopes=["read", "delete", "admin"]) as made:
            return await ask(made, authorization)

    assert asyncio.run(run()) == ImmediateResponse(status, {"www-authenticate": says})


@pytest.mark.parametrize("about", [{**GOOD, "exp": time.time() - 1}, GOOD])
def test_an_answer_is_believed_no_longer_than_it_may_be(about: dict[str, Any]) -> None:
    async def run() -> list[str]:
        server = Server(good=about)
        async with server.prepared(cacheSeconds=10 if "exp" in about else 0) as made:
            await ask(made)
            await ask(made)
        return server.asked

    assert asyncio.run(run()) == ["good", "good"]


def test_only_so_many_answers_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy, "MAX_CACHED", 2)

    async def run() -> list[str]:
        server = Server()
        async with server.prepared() as made:
            for token in ("a", "b", "c", "c", "b", "a"):
                await ask(made, f"Bearer {token}")
        return server.asked

    assert asyncio.run(run()) == ["a", "b", "c", "a"]


@pytest.mark.parametrize(("status", "about"), [(500, GOOD), (200, []), (200, {}), (200, {"active": "yes"})])
def test_while_the_server_says_nothing_of_use_the_answer_is_503(status: int, about: Any) -> None:
    async def run() -> Any:
        server = Server(good=about)
        server.status = status
        async with server.prepared() as made:
            return await ask(made), await ask(made, timeout=0.0)

    for answer in asyncio.run(run()):
        assert answer == ImmediateResponse(503, {"retry-after": "5"})
