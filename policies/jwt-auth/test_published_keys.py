"""Keys that an issuer publishes: fetched, changed, withdrawn; issuers that are away or publish invalid documents."""

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
WEAK_KEY = rsa.generate_private_key(65537, 1024)  # noqa: S505 - the policy must refuse it
NOW = 1_767_225_600  # the time of testing.clock
FAR = 4_102_444_800  # for tests that run in real time
DEFAULTS: dict[str, Any] = {
    "scopes": [], "scopesMatch": "all", "requiredClaims": {}, "clockSkewSeconds": 30, "refreshSeconds": 300,
    "required": True, "token": {"in": "authorization"}, "maxTokenBytes": 8192, "forwardToken": True, "claimHeaders": {},
}  # fmt: skip


def jwk(key: rsa.RSAPrivateKey, kid: str = "one", **more: Any) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(RSAAlgorithm.to_jwk(key.public_key()))
    return document | {"kid": kid, "key_ops": ["verify"], **more}


def issuer(name: str, **more: Any) -> dict[str, Any]:
    return {"issuer": name, "audiences": [], "algorithms": ["RS256", "ES256"], "types": ["JWT"], **more}


def make_params(*issuers: dict[str, Any]) -> dict[str, Any]:
    return testing.params({**DEFAULTS, "issuers": list(issuers)})


def token(iss: str, key: Any = KEY, kid: str = "one", **claims: Any) -> str:
    return jwt.encode({"iss": iss, "exp": NOW + 60, **claims}, key, "RS256", {"kid": kid} if kid else {})


def status(prepared: Any, params: dict[str, Any], text: str) -> int:
    """Returns the status of the answer to a request with this token; 200 if the request passes."""
    ctx = testing.request(headers={"authorization": f"Bearer {text}"}, prepared=prepared)
    action = policy.on_request(ctx, params)
    if not isinstance(action, ImmediateResponse):
        return 200
    assert ctx.identity is None
    assert action.status_code != 503 or action.headers["retry-after"] == "5"
    return action.status_code


class Provider:
    """An issuer that publishes keys over HTTP; `answer` replaces its answers."""

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
        """Prepares the policy for this issuer: yields a function that sends a token and returns the answer's status."""
        application = web.Application()
        application.router.add_get("/{any:.*}", self.handle)
        async with TestServer(application) as server:
            self.issuer = str(server.make_url("")).rstrip("/")
            params = make_params(issuer(self.issuer))
            async with testing.prepared(policy, params) as prepared:
                yield lambda text: status(prepared, params, text)

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
                assert ask(provider.token(exp=NOW + 900)) == 503, "the known keys may be out of date"
                await clock.advance_async(0)
                assert ask(provider.token(exp=NOW + 900)) == 401

    asyncio.run(run())


def test_a_cached_token_ends_with_its_key_and_at_its_time() -> None:
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


def test_the_cache_of_verified_tokens_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    verified: list[str] = []
    verify = policy.verify

    def noted(text: str, issuers: Any) -> Any:
        verified.append(text)
        return verify(text, issuers)

    monkeypatch.setattr(policy, "verify", noted)
    tokens = [token("inline", jti=str(number)) for number in range(5)]
    bad = token("inline", exp=1)

    async def run() -> None:
        params = make_params(issuer("inline", jwks={"keys": [jwk(KEY)]}))
        async with testing.prepared(policy, params) as gate:
            gate.max_verified = 2
            for text in (*tokens, tokens[4], tokens[3], tokens[0], bad, bad):
                status(gate, params, text)
                assert len(gate._verified) + len(gate._verified_before) <= 4

    with testing.clock():
        asyncio.run(run())
    assert [tokens.index(text) for text in verified if text != bad] == [0, 1, 2, 3, 4, 0]
    assert verified.count(bad) == 2, "a refused token is not cached"


def test_an_unknown_key_is_requested_at_most_once_a_minute() -> None:
    async def run() -> None:
        provider = Provider()
        with testing.clock() as clock:
            async with provider.prepared() as ask:
                provider.keys.append(jwk(OTHER_KEY, "two"))
                new = provider.token(OTHER_KEY, "two", exp=NOW + 900)
                assert [ask(new) for _ in range(5)] == [503] * 5, "the key is not known yet"
                assert ask(provider.token()) == 200, "tokens with known keys still pass"
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
def test_a_token_is_not_refused_if_its_key_comes_meanwhile(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests and fetches run in different threads, and each may be delayed at any line."""
    holding, coming = threading.Event(), threading.Event()
    name, method = place.split(".")
    original = getattr(getattr(policy, name), method)

    def delayed_method(*arguments: Any) -> Any:
        result = original(*arguments)
        holding.set()
        assert coming.wait(30)
        return result

    async def run() -> None:
        provider = Provider()
        async with provider.prepared() as ask:
            provider.keys.append(jwk(OTHER_KEY, "two"))
            new = provider.token(OTHER_KEY, "two", exp=FAR)
            with monkeypatch.context() as patch:
                patch.setattr(getattr(policy, name), method, delayed_method)
                first = asyncio.create_task(asyncio.to_thread(ask, new))
                assert await asyncio.to_thread(holding.wait, 30)
            while (answer := ask(new)) != 200:
                assert answer == 503
                await asyncio.sleep(0.01)
            coming.set()
            assert await first in {200, 503}

    asyncio.run(run())


def test_a_changed_key_without_an_id_is_requested() -> None:
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


def test_an_issuer_that_cannot_be_reached_at_first() -> None:
    async def run() -> None:
        provider = Provider()
        provider.answer = lambda _: web.Response(status=503)
        with testing.clock() as clock:
            async with provider.prepared() as ask:
                assert ask(provider.token()) == 503
                for bad in ("x", token("https://evil.example")):
                    assert ask(bad) == 401, "a token of another issuer needs no keys"
                provider.answer = lambda _: None
                await clock.advance_async(1)
                assert ask(provider.token()) == 200
                provider.answer = lambda _: web.Response(status=503)
                await clock.advance_async(250_000)
                assert ask(provider.token(exp=NOW + 300_000)) == 200, "known keys remain in use"
                assert ask(provider.token(kid="new", exp=NOW + 300_000)) == 503

    asyncio.run(run())


async def slowly(_: web.Request) -> web.Response:
    await asyncio.sleep(30)
    return web.Response()


async def drip(request: web.Request) -> web.StreamResponse:
    """A body that never ends, in pieces without long pauses."""
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
        discovery = {"issuer": f"http://{request.host}", "jwks_uri": f"http://{request.host}/keys"} | document
        return web.json_response(discovery) if request.path != "/keys" else None

    return answer


@pytest.mark.parametrize(
    ("answer", "message"),
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
    answer: Callable[[web.Request], Any],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
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
    assert re.search(message, failure), failure


def test_unusable_keys_are_ignored(caplog: pytest.LogCaptureFixture) -> None:
    provider = Provider()

    async def run() -> None:
        weak = jwk(WEAK_KEY, "weak")
        provider.keys = [weak, jwk(KEY, "leaked") | {"d": "x"}, jwk(OTHER_KEY, "enc", use="enc"), jwk(KEY)]
        with testing.clock():
            async with provider.prepared() as ask:
                assert ask(provider.token()) == 200
                assert ask(provider.token(kid="leaked")) == 503  # it may be published soon

    asyncio.run(run())
    messages = [record.getMessage() for record in caplog.records]
    assert [text.rpartition(" is ignored: ")[0] for text in messages] == [
        f"keys[{number}] of the issuer {provider.issuer}" for number in (0, 1)
    ]


def test_an_https_issuer_must_publish_its_keys_over_https() -> None:
    async def run() -> None:
        keys = policy.PublishedKeys(None, {"issuer": "https://id.example", "algorithms": ["RS256"]}, 300)

        async def document(_: str) -> dict[str, Any]:
            return {"issuer": "https://id.example", "jwks_uri": "http://id.example/keys"}

        keys._fetch_document = document
        with pytest.raises(ValueError, match=r"expected jwks_uri with https://, got .http://id"):
            await keys._fetch()

    asyncio.run(run())


def test_an_issuer_that_cannot_be_reached_leaves_others_alone() -> None:
    async def run() -> None:
        gone = issuer("https://gone.example", jwksUri="http://127.0.0.1:1/keys")
        params = make_params(gone, issuer("inline", jwks={"keys": [jwk(KEY)]}))
        with testing.clock():
            async with testing.prepared(policy, params) as prepared:
                assert status(prepared, params, token("inline")) == 200
                assert status(prepared, params, token("https://gone.example")) == 503

    asyncio.run(run())
