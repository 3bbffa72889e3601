"""Who comes with a JWT, and what they may: through the whole management API, with a provider that answers over HTTP."""

from __future__ import annotations

import copy
import json
import re
import time
from collections.abc import Callable

import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from gatewright_controller.management.access import CallerLimits
from gatewright_controller.management.api import ApiLimits
from gatewright_controller.oidc import NotSignedInError
from gatewright_documents.values import JsonObject
from jwt.algorithms import RSAAlgorithm

from .provider import KEYS, OTHER_KEY, RSA_KEY, VIEWER, Provider, encoded, jwk, signed

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]
ClientWith = Callable[..., httpx.AsyncClient]
TOKEN = "the-token-of-these-tests"  # noqa: S105
HEADER = {"alg": "RS256", "kid": "one"}
FAR = 4_102_444_800
LIMITS = ApiLimits(callers=CallerLimits(failures_at_once=1000.0))


def bearer(text: str) -> dict[str, str]:
    return {"authorization": f"Bearer {text}"}


async def ask(client: httpx.AsyncClient, text: str, path: str = "/v1/caller") -> httpx.Response:
    return await client.get(path, headers=bearer(text))


@pytest.mark.parametrize("algorithm", KEYS)
async def test_a_jwt_of_the_provider_is_accepted(provider: Provider, client_with: ClientWith, algorithm: str) -> None:
    provider.keys = [jwk(OTHER_KEY, "other"), jwk(KEYS[algorithm])]
    async with provider.people() as people:
        answer = await ask(client_with(LIMITS, people), provider.jwt(KEYS[algorithm], algorithm))
    assert answer.status_code == 200, answer.text
    assert answer.json()["actor"] == "oidc:ada"
    assert [grant["role"] for grant in answer.json()["grants"]] == ["viewer"]


async def test_tokens_of_the_controller_go_on_beside_it(provider: Provider, client_with: ClientWith) -> None:
    async with provider.people() as people:
        client = client_with(LIMITS, people, TOKEN)
        made = await client.post("/v1/tokens", json={"name": "ci", "role": "viewer"}, headers=bearer(TOKEN))
        actors = [(await ask(client, text)).json()["actor"] for text in (TOKEN, made.json()["token"], provider.jwt())]
    assert actors == ["token", "token:ci", "oidc:ada"]


async def test_a_request_without_credentials_is_refused(provider: Provider, client_with: ClientWith) -> None:
    """Also where no token is configured: this machine is no longer enough."""
    async with provider.people() as people:
        client = client_with(LIMITS, people)
        assert (await client.get("/v1/apis")).status_code == 401
        assert (await client.get("/")).status_code == 200
        for text in ("no-such-token", "a.b", "a.b.c.d", "..", ""):
            refused = await ask(client, text)
            assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer"), text


def public_pem() -> bytes:
    kind = serialization.PublicFormat.SubjectPublicKeyInfo
    return RSA_KEY.public_key().public_bytes(serialization.Encoding.PEM, kind)


Make = Callable[[Provider], str]
ALGORITHM, TIMES = "expected one of the algorithms RS256", "expected exp, nbf and iat to be numbers"
HEADERS, KIND, TYPE = "its header has a member", "it is neither an ID token", "a claim is missing or is not of its type"
REFUSED: dict[str, tuple[Make, str]] = {
    "no algorithm": (lambda p: f"{encoded({**HEADER, 'alg': 'none'})}.{encoded(p.claims())}.", ALGORITHM),
    "no algorithm, a signature": (lambda p: signed({**HEADER, "alg": "none"}, p.claims()), ALGORITHM),
    "no algorithm in capitals": (lambda p: f"{encoded({**HEADER, 'alg': 'NONE'})}.{encoded(p.claims())}.", ALGORITHM),
    "an algorithm in a list": (lambda p: signed({**HEADER, "alg": ["RS256"]}, p.claims()), ALGORITHM),
    "a shared secret": (lambda p: p.jwt("s" * 32, "HS256"), ALGORITHM),
    "the public key as a secret": (
        lambda p: signed({**HEADER, "alg": "HS256"}, p.claims(), public_pem(), "HS256"),
        ALGORITHM,
    ),
    "an algorithm that is not listed": (lambda p: p.jwt(RSA_KEY, "RS512"), ALGORITHM),
    "another key of this id": (lambda p: p.jwt(OTHER_KEY), "its signature is not valid"),
    "a key of another type": (lambda p: p.jwt(KEYS["ES256"], "ES256"), "signed by a key"),
    "a key in the header": (
        lambda p: signed({**HEADER, "jwk": jwk(OTHER_KEY)}, p.claims(), OTHER_KEY),
        "its signature is not valid",
    ),
    "no signature": (lambda p: p.jwt().rpartition(".")[0] + ".", "its signature is not valid"),
    "other claims than were signed": (
        lambda p: ".".join([p.jwt().split(".")[0], encoded(p.claims(sub="eve")), p.jwt().split(".")[2]]),
        "its signature is not valid",
    ),
    "something critical": (lambda p: signed({**HEADER, "crit": ["exp"]}, p.claims()), "cannot be read"),
    "nothing critical": (lambda p: signed({**HEADER, "crit": []}, p.claims()), "cannot be read"),
    "a payload that is elsewhere": (lambda p: signed({**HEADER, "b64": False, "crit": ["b64"]}, p.claims()), "cannot"),
    "a payload that is named critical": (
        lambda p: signed({**HEADER, "b64": True, "crit": ["b64"]}, p.claims()),
        HEADERS,
    ),
    "a key id that is no text": (lambda p: signed({**HEADER, "kid": 1}, p.claims()), "cannot be read"),
    "a token of another kind": (lambda p: signed({**HEADER, "typ": "logout+jwt"}, p.claims()), KIND),
    "a kind that is no text": (lambda p: signed({**HEADER, "typ": 1}, p.claims()), KIND),
    "another issuer": (lambda p: p.jwt(iss="https://evil.example"), "expected one of the issuer http://127.0.0.1"),
    "issuers": (lambda p: p.jwt(iss=None) and signed(HEADER, p.claims(iss=[p.issuer])), "expected one of the issuer"),
    "no issuer": (lambda p: p.jwt(iss=None), "expected one of the issuer"),
    "another audience": (lambda p: p.jwt(aud="orders"), "it is for another audience"),
    "other audiences": (lambda p: p.jwt(aud=["orders", "gatewright/"]), "it is for another audience"),
    "an audience in an object": (lambda p: p.jwt(aud={"gatewright": 1}), "it is for another audience"),
    "no audience": (lambda p: p.jwt(aud=None), TYPE),
    "expired": (lambda p: p.jwt(exp=int(time.time()) - 31), "it has expired; log in again"),
    "no expiry": (lambda p: p.jwt(exp=None), TYPE),
    "an expiry in words": (lambda p: signed(HEADER, p.claims(exp="never")), TYPE),
    "an expiry as text": (lambda p: signed(HEADER, p.claims(exp=str(FAR))), TIMES),
    "an endless expiry": (lambda p: signed(HEADER, p.claims(exp=float("inf"))), TYPE),
    "no number as expiry": (lambda p: signed(HEADER, p.claims(exp=float("nan"))), TYPE),
    "not valid yet": (lambda p: p.jwt(nbf=int(time.time()) + 60), "it is not valid yet"),
    "a beginning that is true": (lambda p: p.jwt(nbf=True), TIMES),
    "issued in the future": (lambda p: p.jwt(iat=int(time.time()) + 60), "it is not valid yet"),
    "no subject": (lambda p: p.jwt(sub=None), TYPE),
    "a subject that is no text": (lambda p: signed(HEADER, p.claims(sub=1)), TYPE),
    "a subject of two lines": (lambda p: p.jwt(sub="ada\nINFO: all is well"), "expected sub to be text"),
    "an empty subject": (lambda p: p.jwt(sub=""), "expected sub to be text"),
    "claims that are a list": (lambda p: signed(HEADER, [p.issuer]), "it cannot be read"),
    "claims that are nested deeply": (
        lambda _: f"{encoded(HEADER)}.{encoded(b'[' * 9000)}.AAAA",
        "it cannot be read",
    ),
    "what is no JSON": (lambda _: "a.b.c", "it cannot be read"),
    "too long": (lambda p: p.jwt(more="x" * 20_000), "expected at most 16384 characters"),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_a_jwt_is_refused_with_its_reason(provider: Provider, name: str) -> None:
    make, reason = REFUSED[name]
    async with provider.people() as people:
        with pytest.raises(NotSignedInError, match=f"^the JWT is refused: .*{re.escape(reason)}"):
            await people.caller_of(make(provider))
        assert await people.caller_of(provider.jwt()), "expected a good one to pass beside it"


async def test_the_answer_to_a_refused_jwt_has_the_reason(provider: Provider, client_with: ClientWith) -> None:
    async with provider.people() as people:
        refused = await ask(client_with(LIMITS, people), provider.jwt(exp=1))
    assert (refused.status_code, refused.json()["detail"]) == (401, "the JWT is refused: it has expired; log in again")
    assert refused.headers["www-authenticate"] == 'Bearer error="invalid_token"'


@pytest.mark.parametrize(("claim", "seconds"), [("exp", -10), ("iat", 10), ("nbf", -1.5), ("nbf", 10)])
async def test_a_jwt_within_the_leeway_is_accepted(
    provider: Provider, client_with: ClientWith, claim: str, seconds: float
) -> None:
    async with provider.people(leeway="120s") as people:
        claims: JsonObject = {claim: int(time.time()) + seconds}
        jwt = provider.jwt(**claims)
        assert (await ask(client_with(LIMITS, people), jwt)).status_code == 200


@pytest.mark.parametrize("claims", [{"aud": ["orders", "gatewright"]}, {"iat": None}], ids=str)
async def test_claims_that_need_not_be_there_or_are_several_are_accepted(
    provider: Provider, client_with: ClientWith, claims: JsonObject
) -> None:
    async with provider.people() as people:
        assert (await ask(client_with(LIMITS, people), provider.jwt(**claims))).status_code == 200


@pytest.mark.parametrize("typ", [None, "JWT", "at+jwt", "application/AT+JWT"])
async def test_id_tokens_and_access_tokens_are_accepted(
    provider: Provider, client_with: ClientWith, typ: str | None
) -> None:
    async with provider.people() as people:
        text = signed(HEADER | ({"typ": typ} if typ else {}), provider.claims())
        assert (await ask(client_with(LIMITS, people), text)).status_code == 200


async def test_without_a_key_id_a_single_key_is_meant(provider: Provider, client_with: ClientWith) -> None:
    provider.keys = [jwk(RSA_KEY), jwk(KEYS["ES256"], "two")]
    async with provider.people() as people:
        assert (await ask(client_with(LIMITS, people), provider.jwt(kid=None))).status_code == 200
    provider.keys.append(jwk(OTHER_KEY, "three"))
    async with provider.people() as people:
        assert (await ask(client_with(LIMITS, people), provider.jwt(kid=None))).status_code == 401


@pytest.mark.parametrize(
    "more",
    [
        {"alg": "PS256"},
        {"use": "enc"},
        {"key_ops": ["encrypt"]},
        {**json.loads(RSAAlgorithm.to_jwk(RSA_KEY)), "key_ops": ["verify"]},
    ],
    ids=["of another algorithm", "for encryption", "for other operations", "private"],
)
async def test_a_key_for_something_else_verifies_nothing(
    provider: Provider, client_with: ClientWith, more: JsonObject
) -> None:
    provider.keys = [{**jwk(RSA_KEY), **more}, jwk(OTHER_KEY, "two"), 1]  # type: ignore[list-item]
    async with provider.people() as people:
        refused = await ask(client_with(LIMITS, people), provider.jwt())
        assert (refused.status_code, "does not publish" in refused.json()["detail"]) == (401, True)


async def test_a_weak_key_is_no_key(provider: Provider, client_with: ClientWith) -> None:
    provider.keys = [jwk(rsa.generate_private_key(65537, 1024))]  # noqa: S505 - it must be refused
    async with provider.people() as people:
        refused = await ask(client_with(LIMITS, people), provider.jwt())
        assert refused.status_code == 503
        assert (
            "expected a public key for RS256, PS256, ES256, ES384, EdDSA, got none among 1" in refused.json()["detail"]
        )


# ---------------------------------------------------------------- what they may


BOUND: JsonObject = {"claim": "realm_access.roles", "value": "team-a", "role": "publisher", "labels": {"team": "a"}}


def named(orders: JsonObject, name: str, team: str) -> JsonObject:
    document = copy.deepcopy(orders)
    document["metadata"] = {"name": name, "labels": {"team": team}}
    document["spec"]["context"] = f"/{name}"
    return document


async def test_every_grant_that_fits_counts(provider: Provider, client_with: ClientWith, orders: JsonObject) -> None:
    """A viewer of all APIs who publishes those of one team."""
    async with provider.people(VIEWER, BOUND, {"claim": "groups", "value": "ops", "role": "admin"}) as people:
        client = client_with(LIMITS, people, TOKEN)
        person = bearer(provider.jwt(realm_access={"roles": ["team-a", "team-b"]}))
        for name, team in (("mine", "a"), ("theirs", "b")):
            document = named(orders, name, team)
            assert (await client.post("/v1/apis", json=document, headers=bearer(TOKEN))).status_code == 201
        caller = (await client.get("/v1/caller", headers=person)).json()
        listed = (await client.get("/v1/apis", headers=person)).json()["apis"]
        mine = await client.put("/v1/apis/mine", json=named(orders, "mine", "a"), headers=person)
        theirs = await client.put("/v1/apis/theirs", json=named(orders, "theirs", "b"), headers=person)
        gateway = await client.delete("/v1/gateway", headers=person)
        nodes = await client.get("/v1/nodes", headers=person)
    assert [(grant["role"], grant["labels"]) for grant in caller["grants"]] == [
        ("viewer", {}),
        ("publisher", {"team": "a"}),
    ]
    assert [api["metadata"]["name"] for api in listed] == ["mine", "theirs"]
    assert (mine.status_code, theirs.status_code, gateway.status_code, nodes.status_code) == (200, 403, 403, 200)
    assert "APIs with the label team=a" in theirs.json()["detail"]


async def test_a_bound_person_sees_no_others_apis(
    provider: Provider, client_with: ClientWith, orders: JsonObject
) -> None:
    async with provider.people(BOUND) as people:
        client = client_with(LIMITS, people, TOKEN)
        for name, team in (("mine", "a"), ("theirs", "b")):
            document = named(orders, name, team)
            assert (await client.post("/v1/apis", json=document, headers=bearer(TOKEN))).status_code == 201
        person = bearer(provider.jwt(realm_access={"roles": "team-a"}))
        listed = (await client.get("/v1/apis", headers=person)).json()["apis"]
        assert [api["metadata"]["name"] for api in listed] == ["mine"]
        assert (await client.get("/v1/apis/theirs", headers=person)).status_code == 403


async def test_the_refusal_of_a_person_without_a_grant_names_the_claims(
    provider: Provider, client_with: ClientWith
) -> None:
    async with provider.people(VIEWER, BOUND) as people:
        client = client_with(LIMITS, people, TOKEN)
        refused = await ask(
            client, provider.jwt(groups=["sales"], email="ada@corp.example", email_verified=True), "/v1/apis"
        )
        (entry,) = (await client.get("/v1/audit", headers=bearer(TOKEN))).json()["entries"]
    assert refused.status_code == 403
    assert refused.json()["detail"] == (
        "oidc:ada@corp.example has no role here: no grant fits; looked at groups (other values), "
        "realm_access.roles (not there)"
    )
    assert (entry["actor"], entry["action"], entry["outcome"]) == ("oidc:ada@corp.example", "listApis", "refused")


async def test_history_and_audit_log_name_the_person(
    provider: Provider, client_with: ClientWith, orders: JsonObject
) -> None:
    async with provider.people({**VIEWER, "role": "admin"}) as people:
        client = client_with(LIMITS, people)
        person = bearer(provider.jwt(email="ada@corp.example", email_verified=True))
        assert (await client.post("/v1/apis", json=orders, headers=person)).status_code == 201
        (revision,) = (await client.get("/v1/apis/orders-v1/revisions", headers=person)).json()["revisions"]
        (entry,) = (await client.get("/v1/audit", headers=person)).json()["entries"]
    assert (revision["actor"], entry["actor"]) == ("oidc:ada@corp.example", "oidc:ada@corp.example")


async def test_a_stranger_who_tries_jwts_has_to_wait(provider: Provider, client_with: ClientWith) -> None:
    async with provider.people() as people:
        client = client_with(ApiLimits(callers=CallerLimits(failures_at_once=5.0)), people)
        answers = [await ask(client, provider.jwt(OTHER_KEY)) for _ in range(8)]
        assert [answer.status_code for answer in answers[:6]] == [401, 401, 401, 401, 401, 429]
        assert (await ask(client, provider.jwt())).status_code == 200


async def test_settings_have_words_for_what_is_wrong(provider: Provider) -> None:
    oidc = provider.settings(VIEWER, {**VIEWER, "role": "admin", "names": ["a"]})
    (mistake,) = oidc.mistakes()
    assert str(mistake).startswith("oidc.grants[1].role: expected an admin for all APIs, got one that is bound")
