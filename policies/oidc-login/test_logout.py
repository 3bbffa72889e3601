"""A user is logged out by the user, or by a page of the same origin, and by no other site."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from sdk import testing
from sdk.policy import ImmediateResponse

policy = testing.load_policy(__file__)
NOW = 1_767_225_600  # the time of testing.clock
PARAMS: dict[str, Any] = {
    "issuer": "http://127.0.0.1:9", "clientId": "gateway", "clientSecret": testing.secret("a secret"), "scopes": [],
    "origin": "https://app.example", "callbackPath": "/app/callback", "logoutPath": "/app/logout",
    "loggedOutPath": "/bye", "cookieKeys": [testing.secret("a secret for the cookies of tests")],
    "cookieName": "session", "sessionSeconds": 3600, "clockSkewSeconds": 30, "forwardCookie": False, "claimHeaders": {},
}  # fmt: skip
Ask = Callable[..., Awaitable[Any]]


def run(test: Callable[[Ask], Awaitable[None]], **more: Any) -> None:
    """Runs `test` with a user who has a session."""
    params = testing.params(PARAMS | more)

    async def within() -> None:
        async with testing.prepared(policy, params) as prepared:
            claims = {"iss": params["issuer"], "sub": "ada"}
            session = prepared.seal.close("session", {"until": NOW + 60, "claims": claims})

            async def ask(path: str, *sites: str) -> Any:
                headers = [("cookie", f"__Host-session=1.{session}"), *(("sec-fetch-site", site) for site in sites)]
                return await policy.on_request(testing.request(path=path, headers=headers, prepared=prepared), params)

            assert not isinstance(await ask("/app/page"), ImmediateResponse), "there is a session"
            await test(ask)

    with testing.clock():
        asyncio.run(within())


@pytest.mark.parametrize("site", ["cross-site", "same-site", "unknown", ""])
def test_another_site_cannot_log_a_user_out(site: str) -> None:
    async def test(ask: Ask) -> None:
        for sites in ([site], [site, "none"], ["none", site]):
            answer = await ask("/app/logout", *sites)
            assert answer.status_code == 200
            assert answer.headers["content-type"] == "text/html; charset=utf-8"
            assert answer.headers["cache-control"] == "no-store"
            assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
            assert '<a href="https://app.example/app/logout">' in answer.body
            assert "set-cookie" not in answer.headers

    run(test)


@pytest.mark.parametrize("sites", [(), ("none",), ("same-origin",)])
def test_a_user_logs_out(sites: tuple[str, ...]) -> None:
    """By the address line, by a link of the same origin, and by a browser without Sec-Fetch-Site."""

    async def test(ask: Ask) -> None:
        answer = await ask("/app/logout", *sites)
        assert (answer.status_code, answer.headers["location"]) == (302, "https://app.example/bye")
        (cookie,) = answer.headers["set-cookie"]
        assert cookie.startswith("__Host-session=; Max-Age=0;")

    run(test)


def test_a_logout_path_is_text_in_its_page() -> None:
    async def test(ask: Ask) -> None:
        answer = await ask("/app/out&lt='", "cross-site")
        assert '<a href="https://app.example/app/out&amp;lt=&#x27;">' in answer.body

    run(test, logoutPath="/app/out&lt='")
