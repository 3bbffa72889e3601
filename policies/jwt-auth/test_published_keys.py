"""Keys that an issuer publishes: fetched, changed, withdrawn; an issuer that is away, and one that lies."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import jwt
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm
from sdk import testing
from sdk.policy import ImmediateResponse

policy = testing.load_policy(__file__)
KEY, OTHER_KEY = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))
WEAK_KEY = rsa.generate_private_key(65537, 1024)  # noqa: S505 - which is the point
NOW = 1_767_225_600  # where testing.clock stands
FAR = 4_102_444_800  # for tests by the real time
DEFAULTS: dict[str, Any] = {
    "scopes": [], "scopesMatch": "all", "requiredClaims": {}, "clockSkewSeconds": 30, "refreshSeconds": 300,
    "required": True, "token": {"in": "authorization"}, "maxTokenBytes": 8192, "forwardToken": True, "claimHeaders": {},
}  # fmt: skip


def jwk(key: rsa.RSAPrivateKey, kid: str = "one", **more: Any) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(RSAAlgorithm.to_jwk(key.public_key()))
    return made | {"kid": kid, "key_ops": ["verify"], **more}


def issuer(name: str, **more: Any) -> dict[str, Any]:
    return {"issuer": name, "audiences": [], "algorithms": ["RS256", "ES256"], "types": ["JWT"], **more}


def params(*issuers: dict[str, Any]) -> dict[str, Any]:
    return testing.params({**DEFAULTS, "issuers": list(issuers)})


def token(iss: str, key: Any = KEY, kid: str = "one", **claims: Any) -> str:
    return jwt.encode({"iss": iss, "exp": NOW + 60, **claims}, key, "RS256", {"kid": kid} if kid else {})


def status(made: Any, given: dict[str, Any], text: str) -> int:
    """Of the answer to a request with this token; 200 where it passes."""
    ctx = testing.request(headers={"authorization": f"Bearer {text}"}, prepared=made)
    action = policy.on_request(ctx, given)
    if not isinstance(action, ImmediateResponse):
        return 200
    assert ctx.identity is None
    assert action.status_code != 503 or action.headers["retry-after"] == "5"
    return action.status_code


class Provider:
    """Publishes keys over HTTP, or whatever else a test has it answer."""

    def __init__(self) -> None:
        self.keys = [jwk(KEY)]
        self.asked: list[str] = []
        self.answer: Callable[[web.Request], Any] = lambda _: None
        self.issuer = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path)
        answer = self.answer(request)
        if asyncio.iscoroutine(answer):
            answer = await answer
        if answer is not None:
            return answer  # type: ignore[no-any-return]
        if request.path == "/.well-known/openid-configuration":
            return web.json_response({"issuer": self.issuer, "jwks_uri": f"{self.issuer}/keys"})
        return web.json_response({"keys": self.keys})

    @asynccontextmanager
    async def prepared(self) -> AsyncIterator[Callable[[str], int]]:
        """What gives the status of the answer to a request with a token."""
        application = web.Application()
        application.router.add_get("/{any:.*}", self.handle)
        async with TestServer(application) as server:
            self.issuer = str(server.make_url("")).rstrip("/")
            given = params(issuer(self.issuer))
            async with testing.prepared(policy, given) as made:
                yield lambda text: status(made, given, text)

    def token(self, key: Any = KEY, kid: str = "one", **claims: Any) -> str:
        return token(self.issuer, key, kid, **claims)


def test_keys_are_found_by_discovery_and_fetched_again() -> None:
    async def run() -> None:
        provider = Provider()
        with testing.clock() as clock:
            async with provider.prepared() as ask:
                assert ask(provider.token()) == 200
                assert provider.asked == ["/.well-known/openid-configuration", "/keys"]
                await clock.advance_async(299)
                assert len(provider.asked) == 2
                provider.keys = [jwk(OTHER_KEY, "two")]
                await clock.advance_async(1)
                assert len(provider.asked) == 4
                assert ask(provider.token(OTHER_KEY, "two", exp=NOW + 900)) == 200
                assert ask(provider.token(exp=NOW + 900)) == 503, "its key is withdrawn, as far as is known"
                await clock.advance_async(0)
                assert ask(provider.token(exp=NOW + 900)) == 401

    asyncio.run(run())


def test_a_token_that_was_good_ends_with_its_key_and_with_its_time() -> None:
    async def run() -> None:
        provider = Provider()
        with testing.clock() as clock:
            async with provider.prepared() as ask:
                long, short = provider.token(exp=NOW + 900), provider.token(exp=NOW + 10)
                early = provider.token(exp=NOW + 900, nbf=NOW + 40)
                assert [ask(token) for token in (long, short, early)] == [200, 200, 401]
                await clock.advance_async(40)
                assert [ask(token) for token in (long, short, early)] == [200, 401, 200]
                provider.keys = [jwk(OTHER_KEY, "one")]
                await clock.advance_async(300)
                assert ask(long) == 401

    asyncio.run(run())


def test_what_is_remembered_is_bounded_and_verified_once(monkeypatch: pytest.MonkeyPatch) -> None:
    verified: list[str] = []
    verify = policy.verify

    def noted(text: str, issuers: Any) -> Any:
        verified.append(text)
        return verify(text, issuers)

    monkeypatch.setattr(policy, "verify", noted)
    tokens = [token("inline", jti=str(number)) for number in range(5)]
    bad = token("inline", exp=1)

    async def run() -> None:
        given = params(issuer("inline", jwks={"keys": [jwk(KEY)]}))
        async with testing.prepared(policy, given) as gate:
            gate.max_verified = 2
            for text in (*tokens, tokens[4], tokens[3], tokens[0], bad, bad):
                status(gate, given, text)
                assert len(gate._verified) + len(gate._verified_before) <= 4

    with testing.clock():
        asyncio.run(run())
    assert [tokens.index(text) for text in verified if text != bad] == [0, 1, 2, 3, 4, 0]
    assert verified.count(bad) == 2, "what is refused is not remembered"


def test_a_key_that_is_not_known_is_asked_for_at_most_once_a_minute() -> None:
    async def run() -> None:
        provider = Provider()
        with testing.clock() as clock:
            async with provider.prepared() as ask:
                provider.keys.append(jwk(OTHER_KEY, "two"))
                new = provider.token(OTHER_KEY, "two", exp=NOW + 900)
                assert [ask(new) for _ in range(5)] == [503] * 5, "the key is not known yet"
                assert ask(provider.token()) == 200, "others go on"
                await clock.advance_async(0)
                assert provider.asked.count("/keys") == 2
                assert ask(new) == 200
                for second in range(59):
                    assert ask(provider.token(kid=f"unknown-{second}")) == 401
                    await clock.advance_async(1)
                assert provider.asked.count("/keys") == 2
                await clock.advance_async(1)
                assert ask(provider.token(kid="unknown")) == 503
                await clock.advance_async(0)
                assert ask(provider.token(kid="unknown")) == 401
                assert provider.asked.count("/keys") == 3

    asyncio.run(run())


@pytest.mark.parametrize("place", ["KeySet.knows", "Fresh.refresh_soon"])
def test_a_good_token_is_not_refused_where_its_key_comes_meanwhile(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other threads serve requests than the one that fetches, and any may be delayed anywhere."""
    holding, coming = threading.Event(), threading.Event()
    name, method = place.split(".")
    original = getattr(getattr(policy, name), method)

    def held_up(*given: Any) -> Any:
        result = original(*given)
        holding.set()
        assert coming.wait(30)
        return result

    async def run() -> None:
        provider = Provider()
        async with provider.prepared() as ask:
            provider.keys.append(jwk(OTHER_KEY, "two"))
            new = provider.token(OTHER_KEY, "two", exp=FAR)
            with monkeypatch.context() as patch:
                patch.setattr(getattr(policy, name), method, held_up)
                first = asyncio.create_task(asyncio.to_thread(ask, new))
                assert await asyncio.to_thread(holding.wait, 30)
            while (answer := ask(new)) != 200:
                assert answer == 503
                await asyncio.sleep(0.01)
            coming.set()
            assert await first in {200, 503}

    asyncio.run(run())


def test_a_changed_key_without_an_id_is_asked_for_as_well() -> None:
    async def run() -> None:
        provider = Provider()
        with testing.clock() as clock:
            async with provider.prepared() as ask:
                assert ask(provider.token(kid="")) == 200
                provider.keys = [jwk(OTHER_KEY)]
                assert ask(provider.token(OTHER_KEY, kid="")) == 503
                await clock.advance_async(0)
                assert ask(provider.token(OTHER_KEY, kid="")) == 200
                assert ask(provider.token(kid="")) == 401
                assert provider.asked.count("/keys") == 2

    asyncio.run(run())


def test_an_issuer_that_is_away_at_first() -> None:
    async def run() -> None:
        provider = Provider()
        provider.answer = lambda _: web.Response(status=503)
        with testing.clock() as clock:
            async with provider.prepared() as ask:
                assert ask(provider.token()) == 503
                for bad in ("x", token("https://evil.example")):
                    assert ask(bad) == 401, "which is not of this issuer"
                provider.answer = lambda _: None
                await clock.advance_async(1)
                assert ask(provider.token()) == 200
                provider.answer = lambda _: web.Response(status=503)
                await clock.advance_async(250_000)
                assert ask(provider.token(exp=NOW + 300_000)) == 200, "what is known goes on"
                assert ask(provider.token(kid="new", exp=NOW + 300_000)) == 503

    asyncio.run(run())


async def slowly(_: web.Request) -> web.Response:
    await asyncio.sleep(30)
    return web.Response()


async def drip(request: web.Request) -> web.StreamResponse:
    """A body that never ends, in pieces that each come in time."""
    answer = web.StreamResponse()
    await answer.prepare(request)
    while True:
        await answer.write(b" ")
        await asyncio.sleep(0.01)


async def flood(request: web.Request) -> web.StreamResponse:
    answer = web.StreamResponse()
    await answer.prepare(request)
    for _ in range(160):
        await answer.write(b" " * 65536)
    await answer.write(json.dumps({"keys": [jwk(KEY)]}).encode())
    return answer


def published(*keys: Any) -> Callable[[web.Request], Any]:
    return lambda request: web.json_response({"keys": list(keys)}) if request.path == "/keys" else None


def found(**document: Any) -> Callable[[web.Request], Any]:
    def answer(request: web.Request) -> Any:
        said = {"issuer": f"http://{request.host}", "jwks_uri": f"http://{request.host}/keys"} | document
        return web.json_response(said) if request.path != "/keys" else None

    return answer


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (lambda _: web.Response(text="<html>", content_type="text/html"), "openid-configuration: Expecting value"),
        (lambda _: web.Response(status=404), "expected the status 200, got 404"),
        (
            lambda _: web.Response(status=302, headers={"location": "http://evil.example/keys"}),
            "got 302; redirects are not followed",
        ),
        (lambda _: web.Response(text="[" * 100_000), "expected JSON that is not nested so deeply"),
        (lambda _: web.Response(body=b"\xff"), "UnicodeDecodeError|can't decode"),
        (lambda _: web.Response(body=b"x", headers={"content-encoding": "gzip"}), "Expecting value"),
        (slowly, "TimeoutError"),
        (drip, "TimeoutError"),
        (flood, "expected at most 1048576 bytes"),
        (found(issuer="https://evil.example"), "expected the issuer http://127.0.0.1:.*evil.example"),
        (found(issuer=None), "expected the issuer"),
        (found(jwks_uri=None), "expected jwks_uri with https:// or http://, got None"),
        (found(jwks_uri="file:///etc/keys"), "expected jwks_uri with"),
        (found(jwks_uri=["http://a"]), "expected jwks_uri with"),
        (published(), "/keys: expected a key for RS256, ES256, got none among 0"),
        (lambda request: web.json_response({"keys": 1}) if request.path == "/keys" else None, "expected a JWK Set"),
        (published(1, None, [], "x"), "got none among 4"),
        (published(jwk(KEY) | {"d": "AQAB"}), "got none among 1"),
        (published(jwk(WEAK_KEY)), "got none among 1"),
        (published({"kty": "RSA", "kid": "one", "n": "AQAB", "e": "AQAB"}), "got none among 1"),
        (published({"kty": ["RSA"], "kid": "one"}), "got none among 1"),
        (published({"kty": "EC", "crv": "P-256", "kid": "one", "x": {}, "y": None}), "got none among 1"),
        (published({"kty": "oct", "kid": "one", "k": "c2VjcmV0"}), "got none among 1"),
    ],
)
def test_an_issuer_with_invalid_documents(
    answer: Callable[[web.Request], Any], says: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(policy, "FETCH_SECONDS", 0.5 if answer in {slowly, drip} else 30)

    async def run() -> None:
        provider = Provider()
        provider.answer = answer
        with testing.clock() as clock:
            async with provider.prepared() as ask:
                assert ask(provider.token()) == 503
                with pytest.MonkeyPatch.context() as patch:
                    patch.setattr(policy, "FETCH_SECONDS", 30)
                    provider.answer = lambda _: None
                    await clock.advance_async(1)
                assert ask(provider.token()) == 200

    asyncio.run(run())
    (failure,) = [record.getMessage() for record in caplog.records if "will be retried" in record.getMessage()]
    assert re.search(says, failure), failure


def test_unusable_keys_are_ignored(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        provider = Provider()
        weak = jwk(WEAK_KEY, "weak")
        provider.keys = [weak, jwk(KEY, "leaked") | {"d": "x"}, jwk(OTHER_KEY, "enc", use="enc"), jwk(KEY)]
        with testing.clock():
            async with provider.prepared() as ask:
                assert ask(provider.token()) == 200
                assert ask(provider.token(kid="leaked")) == 503  # it may be published soon

    asyncio.run(run())
    said = [record.getMessage() for record in caplog.records]
    assert [text.partition(":")[0] for text in said] == ["keys[0] is ignored", "keys[1] is ignored"]


def test_discovery_of_https_finds_no_keys_in_the_clear() -> None:
    async def run() -> None:
        keys = policy.Published(None, {"issuer": "https://id.example", "algorithms": ["RS256"]}, 300)

        async def document(_: str) -> dict[str, Any]:
            return {"issuer": "https://id.example", "jwks_uri": "http://id.example/keys"}

        keys._document = document
        with pytest.raises(ValueError, match=r"expected jwks_uri with https://, got .http://id"):
            await keys._fetch()

    asyncio.run(run())


def test_one_issuer_that_is_away_leaves_the_others_alone() -> None:
    async def run() -> None:
        gone = issuer("https://gone.example", jwksUri="http://127.0.0.1:1/keys")
        given = params(gone, issuer("inline", jwks={"keys": [jwk(KEY)]}))
        with testing.clock():
            async with testing.prepared(policy, given) as made:
                assert status(made, given, token("inline")) == 200
                assert status(made, given, token("https://gone.example")) == 503

    asyncio.run(run())
