"""What the provider publishes, over time: keys that change, a provider that is away, slow or wrong."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import httpx
import pytest
from aiohttp import web
from gatewright_controller.management.api import ApiLimits
from gatewright_controller.oidc.kept import Intervals

from .provider import OTHER_KEY, RSA_KEY, Answer, Provider, eventually, jwk

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]
ClientWith = Callable[..., httpx.AsyncClient]
TOKEN = "the-token-of-these-tests"  # noqa: S105
SOON = Intervals(refresh=0.05, retry=0.05)
DISCOVERY = "/.well-known/openid-configuration"


async def status(client: httpx.AsyncClient, text: str) -> int:
    return (await client.get("/v1/caller", headers={"authorization": f"Bearer {text}"})).status_code


async def test_a_new_key_is_fetched_when_it_is_first_seen(provider: Provider, client_with: ClientWith) -> None:
    async with provider.people() as people:
        client = client_with(ApiLimits(), people)
        assert await status(client, provider.jwt()) == 200
        provider.keys.append(jwk(OTHER_KEY, "two"))
        assert await status(client, provider.jwt(OTHER_KEY, kid="two")) == 200
        assert provider.asked["/keys"] == 2


async def test_unknown_keys_ask_the_provider_once_a_minute(provider: Provider, client_with: ClientWith) -> None:
    """However many strangers send them, and at once."""
    async with provider.people() as people:
        client = client_with(ApiLimits(), people)
        at_once = [status(client, provider.jwt(OTHER_KEY, kid=f"unknown-{n}")) for n in range(20)]
        assert set(await asyncio.gather(*at_once)) == {401}
        for number in range(20):
            assert await status(client, provider.jwt(OTHER_KEY, kid=f"later-{number}")) == 401
        assert await status(client, provider.jwt()) == 200
        assert provider.asked == {DISCOVERY: 2, "/keys": 2}


async def test_a_wrong_signature_and_another_issuer_never_ask_the_provider(
    provider: Provider, client_with: ClientWith
) -> None:
    async with provider.people() as people:
        client = client_with(ApiLimits(), people)
        assert await status(client, provider.jwt(OTHER_KEY)) == 401
        assert await status(client, provider.jwt(OTHER_KEY, kid="two", iss="https://evil.example")) == 401
        assert provider.asked["/keys"] == 1


async def test_a_withdrawn_key_verifies_nothing_more(provider: Provider, client_with: ClientWith) -> None:
    async with provider.people(intervals=SOON) as people:
        client = client_with(ApiLimits(), people)
        assert await status(client, provider.jwt()) == 200
        provider.keys = [jwk(OTHER_KEY, "two")]

        async def is_refused() -> bool:
            return await status(client, provider.jwt()) == 401

        await eventually(is_refused, "a withdrawn key is refused")
        assert await status(client, provider.jwt(OTHER_KEY, kid="two")) == 200


async def test_a_provider_that_goes_away_leaves_its_keys(
    provider: Provider, client_with: ClientWith, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says it once for each time that it is away."""
    caplog.set_level(logging.INFO, "gatewright_controller.oidc")
    async with provider.people(intervals=SOON) as people:
        client = client_with(ApiLimits(), people)
        assert await status(client, provider.jwt()) == 200
        fetches = 0

        def refuse(_: web.Request) -> web.StreamResponse:
            nonlocal fetches
            fetches += 1
            return web.Response(status=500)

        async def has_tried() -> bool:
            return fetches >= 3

        async def is_back() -> bool:
            return "answers again" in caplog.text

        provider.answers[DISCOVERY] = refuse
        await eventually(has_tried, "the provider is asked again")
        assert await status(client, provider.jwt()) == 200
        assert await status(client, provider.jwt(OTHER_KEY)) == 401
        provider.answers.clear()
        await eventually(is_back, "the log says that it is back")
    (away, back) = caplog.records
    assert "expected the status 200, got 500" in away.getMessage()
    assert away.meanwhile == "the keys that are known stay in use"  # type: ignore[attr-defined]
    assert back.levelname == "INFO"


async def test_a_provider_that_is_away_at_the_start_is_waited_for(
    provider: Provider, client_with: ClientWith, caplog: pytest.LogCaptureFixture
) -> None:
    await provider.stop()
    async with provider.people(intervals=SOON) as people:
        client = client_with(ApiLimits(), people, TOKEN)
        refused = await client.get("/v1/caller", headers={"authorization": f"Bearer {provider.jwt()}"})
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
        detail = refused.json()["detail"]
        assert detail.startswith(
            f"the OpenID provider {provider.issuer} cannot be asked: {provider.issuer}/.well-known"
        )
        assert detail.endswith("; tokens of this controller are accepted")
        assert await status(client, TOKEN) == 200
        await provider.start()

        async def is_accepted() -> bool:
            return await status(client, provider.jwt()) == 200

        await eventually(is_accepted, "a JWT is accepted once the provider answers")
    assert caplog.text.count("cannot be asked") == 1


async def hang(_: web.Request) -> web.StreamResponse:
    await asyncio.sleep(60)
    return web.Response()


def json(document: object) -> Answer:
    return lambda _: web.json_response(document)


UNUSABLE: dict[str, tuple[str, Answer, str]] = {
    "hangs": (DISCOVERY, hang, "expected an answer within 0.3 s, got none"),
    "redirects": (
        DISCOVERY,
        lambda _: web.Response(status=302, headers={"location": "/keys"}),
        "expected the status 200, got 302; redirects",
    ),
    "sends too much": (DISCOVERY, lambda _: web.Response(body=b" " * (1 << 21)), "at most 1048576 bytes"),
    "sends no JSON": (DISCOVERY, lambda _: web.Response(text="<html>"), "Expecting value"),
    "is another": (DISCOVERY, json({"issuer": "https://other.example"}), "got https://other.example"),
    "names no keys": (DISCOVERY, lambda r: web.json_response({"issuer": f"http://{r.host}"}), "expected jwks_uri with"),
    "names a file": (
        DISCOVERY,
        lambda r: web.json_response({"issuer": f"http://{r.host}", "jwks_uri": "file:///etc/passwd"}),
        "expected jwks_uri with https:// or http://, got file:///etc/passwd",
    ),
    "has a list of keys": ("/keys", json([]), "expected a JSON object"),
    "has keys in an object": ("/keys", json({"keys": {}}), "expected a JWK Set"),
    "has no key": ("/keys", json({"keys": [{"kty": "RSA", "n": 1}, {"kty": "EC", "crv": "P-256"}]}), "none among 2"),
}


@pytest.mark.parametrize("name", UNUSABLE)
async def test_a_provider_that_is_of_no_use_is_said_to_be(
    provider: Provider, client_with: ClientWith, name: str
) -> None:
    path, answer, reason = UNUSABLE[name]
    provider.answers[path] = answer
    async with provider.people(seconds=0.3 if name == "hangs" else 5.0) as people:
        client = client_with(ApiLimits(), people, TOKEN)
        refused = await client.get("/v1/caller", headers={"authorization": f"Bearer {provider.jwt()}"})
        assert refused.status_code == 503
        assert reason in refused.json()["detail"]
        assert await status(client, TOKEN) == 200


async def test_keys_at_a_place_of_their_own_need_no_discovery(provider: Provider, client_with: ClientWith) -> None:
    async with provider.people(jwksUri=f"{provider.issuer}/keys") as people:
        assert await status(client_with(ApiLimits(), people), provider.jwt(RSA_KEY)) == 200
    assert provider.asked == {"/keys": 1}
