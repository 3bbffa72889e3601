"""Logging in at the provider, as a page does it: the code flow with PKCE, whose code the controller exchanges."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from aiohttp import web
from gatewright_controller.management.api import ApiLimits
from gatewright_documents.values import JsonObject

from .provider import CLIENT, OTHER_KEY, VIEWER, Provider

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]
TOKEN = "the-token-of-these-tests"  # noqa: S105
VERIFIER, NONCE, PAGE = "v" * 43, "the-nonce-of-this-login", "http://127.0.0.1/"


@pytest.fixture
async def client(provider: Provider, client_with: Callable[..., httpx.AsyncClient]) -> AsyncIterator[httpx.AsyncClient]:
    async with provider.people(VIEWER, clientId=CLIENT, scopes=["email", "groups"]) as people:
        yield client_with(ApiLimits(), people, TOKEN)


def answer(code: str, /, **change: str) -> JsonObject:
    """What the page sends."""
    return {"code": code, "codeVerifier": VERIFIER, "redirectUri": PAGE, "nonce": NONCE, **change}


async def test_a_page_learns_where_to_log_in(client: httpx.AsyncClient, provider: Provider) -> None:
    assert (await client.get("/v1/login")).json() == {
        "authorizationEndpoint": f"{provider.issuer}/authorize",
        "clientId": CLIENT,
        "scope": "openid email groups",
    }


async def test_who_has_logged_in_comes_with_the_id_token(client: httpx.AsyncClient, provider: Provider) -> None:
    code = provider.authorize(VERIFIER, PAGE, nonce=NONCE, email="ada@corp.example", email_verified=True)
    logged_in = await client.post("/v1/login", json=answer(code))
    assert logged_in.status_code == 200, logged_in.text
    assert logged_in.headers["cache-control"] == "no-store"
    assert logged_in.json()["actor"] == "oidc:ada@corp.example"
    headers = {"authorization": f"Bearer {logged_in.json()['token']}"}
    assert (await client.get("/v1/caller", headers=headers)).json()["actor"] == "oidc:ada@corp.example"
    again = await client.post("/v1/login", json=answer(code))
    assert again.status_code == 401, "a code counts once"
    audit = (await client.get("/v1/audit", headers={"authorization": f"Bearer {TOKEN}"})).json()["entries"]
    assert [(entry["actor"], entry["action"], entry["outcome"]) for entry in audit] == [
        ("stranger", "logIn", "refused"),
        ("oidc:ada@corp.example", "logIn", "done"),
    ]
    assert logged_in.json()["token"] not in str(audit)


REFUSED: dict[str, tuple[dict[str, Any], dict[str, str], str]] = {
    "another verifier": ({}, {"codeVerifier": "w" * 43}, "the provider does not accept this login"),
    "another page": ({}, {"redirectUri": "http://evil.example/"}, "the provider does not accept this login"),
    "another code": ({}, {"code": "guessed"}, "the provider does not accept this login"),
    "the nonce of another login": ({"nonce": "another"}, {}, "the ID token is of another login"),
    "no nonce": ({"nonce": None}, {}, "the ID token is of another login"),
    "a nonce that is no text": ({"nonce": 1}, {}, "the ID token is of another login"),
    "an ID token for another client": ({"aud": "gatewright"}, {}, "the ID token is for another client"),
    "one that was issued to another": ({"azp": "other"}, {}, "the ID token was issued to another client"),
    "one that has expired": ({"exp": 1}, {}, "the JWT is refused: it has expired"),
    "one that another has signed": ({"key": OTHER_KEY}, {}, "the JWT is refused: its signature is not valid"),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_a_login_is_refused_with_its_reason(client: httpx.AsyncClient, provider: Provider, name: str) -> None:
    claims, change, reason = REFUSED[name]
    code = provider.authorize(VERIFIER, PAGE, **{"nonce": NONCE, **claims})
    refused = await client.post("/v1/login", json=answer(code, **change))
    assert refused.status_code == 401, refused.text
    assert reason in refused.json()["detail"]
    assert "token" not in refused.json()


async def test_whom_no_grant_fits_gets_no_token(client: httpx.AsyncClient, provider: Provider) -> None:
    code = provider.authorize(VERIFIER, PAGE, nonce=NONCE, groups=["sales"])
    refused = await client.post("/v1/login", json=answer(code))
    assert refused.status_code == 403
    assert refused.json()["detail"] == "oidc:ada has no role here: no grant fits; looked at groups (other values)"


@pytest.mark.parametrize(
    ("change", "field"),
    [({"codeVerifier": "short"}, "codeVerifier"), ({"code": ""}, "code"), ({"state": "x"}, "state")],
)
async def test_a_mistake_is_said_with_its_field(
    client: httpx.AsyncClient, provider: Provider, change: dict[str, str], field: str
) -> None:
    refused = await client.post("/v1/login", json=answer("code", **change))
    assert (refused.status_code, [error["field"] for error in refused.json()["errors"]]) == (422, [field])
    assert provider.asked["/token"] == 0


async def test_a_provider_that_fails_meanwhile_is_named(client: httpx.AsyncClient, provider: Provider) -> None:
    for failing in (
        web.Response(status=500),
        web.Response(status=302, headers={"location": "/"}),
        web.Response(text=""),
    ):
        provider.answers["/token"] = lambda _, failing=failing: failing  # type: ignore[misc]
        away = await client.post("/v1/login", json=answer(provider.authorize(VERIFIER, PAGE, nonce=NONCE)))
        assert away.status_code == 503
        assert f"the login cannot be finished: {provider.issuer}/token: " in away.json()["detail"]
    provider.answers["/token"] = lambda _: web.json_response({"access_token": "opaque"})
    without = await client.post("/v1/login", json=answer("code"))
    assert (without.status_code, "no ID token" in without.json()["detail"]) == (401, True)


async def test_the_provider_is_not_asked_as_often_as_a_client_likes(
    client: httpx.AsyncClient, provider: Provider
) -> None:
    statuses = [(await client.post("/v1/login", json=answer("guessed"))).status_code for _ in range(40)]
    assert (set(statuses), statuses[0]) == ({401, 429}, 401)
    assert provider.asked["/token"] == statuses.count(401) < 40


async def test_without_a_client_people_log_in_elsewhere(
    provider: Provider, client_with: Callable[..., httpx.AsyncClient]
) -> None:
    async with provider.people() as people:
        client = client_with(ApiLimits(), people)
        assert (await client.get("/v1/login")).json() == {}
        assert (await client.post("/v1/login", json=answer("code"))).status_code == 401
        id_token = {"authorization": f"Bearer {provider.jwt(aud=CLIENT)}"}
        assert (await client.get("/v1/caller", headers=id_token)).status_code == 401
    client = client_with(ApiLimits())
    assert (await client.get("/v1/login")).json() == {}
    assert (await client.post("/v1/login", json=answer("code"))).status_code == 404
