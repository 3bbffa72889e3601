from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives.asymmetric import ed448, ed25519, rsa
from jwt.algorithms import OKPAlgorithm, RSAAlgorithm
from sdk import testing
from sdk.action import ActionError
from sdk.policy import ImmediateResponse

policy = testing.load_policy(__file__)
KEY, OTHER_KEY = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))
NOW = 1_767_225_600  # the time of testing.clock
OLD, NEW = (testing.secret(f"{age} secret for the cookies of tests") for age in ("an old", "a new"))
DEFAULTS: dict[str, Any] = {
    "clientId": "gate:way", "clientSecret": testing.secret("p ß"), "scopes": ["email"],
    "origin": "https://app.example", "callbackPath": "/app/callback", "logoutPath": "/app/logout",
    "loggedOutPath": "/bye", "cookieKeys": [OLD], "cookieName": "session", "sessionSeconds": 3600,
    "clockSkewSeconds": 30, "forwardCookie": False, "claimHeaders": {"x-user": "email"},
}  # fmt: skip


class Provider:
    """An identity provider whose user always logs in."""

    def __init__(self) -> None:
        self.issuer = ""
        self.keys = {"one": KEY}
        self.signs = "one"
        self.listed: list[dict[str, Any]] = []
        self.claims: dict[str, Any] = {}
        self.paths: list[str] = []
        self.token: Callable[[], Any] | None = None
        self.away = False
        self.published: dict[str, Any] = {}

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.paths.append(request.path)
        if self.away:
            return web.Response(status=503)
        if request.path == "/token":
            return await self.exchanged(request)
        if request.path == "/keys":
            listed = [
                json.loads(RSAAlgorithm.to_jwk(key.public_key())) | {"kid": kid} for kid, key in self.keys.items()
            ]
            return web.json_response({"keys": [*self.listed, *listed]})
        ends = {
            "authorization_endpoint": "auth?x=1",
            "token_endpoint": "token",
            "jwks_uri": "keys",
            "end_session_endpoint": "end",
        }
        found = {name: f"{self.issuer}/{path}" for name, path in ends.items()}
        return web.json_response({"issuer": self.issuer, **found, **self.published})

    async def exchanged(self, request: web.Request) -> web.StreamResponse:
        form = await request.post()
        known_as = request.headers["authorization"].removeprefix("Basic ")
        name, _, secret = base64.b64decode(known_as).decode().partition(":")
        assert (name, secret) == ("gate%3Away", "p+%C3%9F")
        assert form["redirect_uri"] == "https://app.example/app/callback"
        challenge = hashlib.sha256(str(form["code_verifier"]).encode()).digest()
        if form["code"] != base64.urlsafe_b64encode(challenge).rstrip(b"=").decode():  # a code is its challenge here
            return web.json_response({"error": "invalid_grant"}, status=400)
        if self.token:
            answer = self.token()
            return answer if isinstance(answer, web.StreamResponse) else web.json_response({"id_token": answer})
        return web.json_response({"id_token": self.id_token(), "access_token": "x"})

    def id_token(self, key: Any = None, algorithm: str = "RS256", **header: Any) -> str:
        defaults = {
            "iss": self.issuer, "aud": "gate:way", "sub": "ada", "email": "ada@app.example", "exp": NOW + 60,
            "iat": NOW, **self.claims,
        }  # fmt: skip
        claims = {name: value for name, value in defaults.items() if value is not None}
        signing: Any = None if algorithm == "none" else key or self.keys[self.signs]
        return jwt.encode(claims, signing, algorithm, {"kid": self.signs, **header})


class Browser:
    """A browser, which keeps cookies and sends requests to the policy."""

    def __init__(self, provider: Provider, prepared: Any, params: dict[str, Any]) -> None:
        self.provider, self.prepared, self.params = provider, prepared, params
        self.cookies: dict[str, str] = {}
        self.identity: Any = None

    async def ask(self, path: str = "/app/page", query: str = "", **more: Any) -> Any:
        headers = [("accept", "text/html,*/*"), *more.pop("headers", [])]
        if self.cookies:
            headers.append(("cookie", "; ".join(f"{name}={value}" for name, value in self.cookies.items())))
        ctx = testing.request(path=path, query=query, headers=headers, prepared=self.prepared, timeout=60, **more)
        action = await policy.on_request(ctx, self.params)
        self.identity = ctx.identity
        if isinstance(action, ImmediateResponse):
            assert self.identity is None
            assert action.headers["cache-control"] == "no-store"
            lines: Any = action.headers.get("set-cookie", [])
            for line in lines:
                self._keep(line)
        return action

    def _keep(self, line: str) -> None:
        pair, *attributes = line.split("; ")
        assert {"Path=/", "Secure", "HttpOnly", "SameSite=Lax"} <= set(attributes)
        assert not any(attribute.startswith("Domain") for attribute in attributes)
        name, _, value = pair.partition("=")
        assert name.startswith("__Host-")
        assert len(line) < 4096
        if "Max-Age=0" in attributes:
            self.cookies.pop(name, None)
        else:
            self.cookies[name] = value

    async def begin_login(self, path: str = "/app/page", query: str = "") -> dict[str, str]:
        """Requests a page, and returns the query of the redirect to the provider."""
        action = await self.ask(path, query)
        assert action.status_code == 302
        parts = urlsplit(action.headers["location"])
        assert f"{parts.scheme}://{parts.netloc}{parts.path}" == f"{self.provider.issuer}/auth"
        login = {name: value for name, (value,) in parse_qs(parts.query).items()}
        self.provider.claims.setdefault("nonce", login["nonce"])
        return login

    async def finish_login(self, login: dict[str, str], **more: str) -> Any:
        query = {"state": login["state"], "code": login["code_challenge"], "iss": self.provider.issuer, **more}
        return await self.ask("/app/callback", "&".join(f"{name}={value}" for name, value in query.items() if value))

    async def log_in(self) -> Any:
        return await self.finish_login(await self.begin_login())


@asynccontextmanager
async def served(**more: Any) -> AsyncIterator[tuple[Provider, Browser]]:
    provider = Provider()
    application = web.Application()
    application.router.add_route("*", "/{any:.*}", provider.answer)
    async with TestServer(application) as server:
        provider.issuer = str(server.make_url("")).rstrip("/")
        params = testing.params({**DEFAULTS, "issuer": provider.issuer, **more})
        async with testing.prepared(policy, params) as prepared:
            yield provider, Browser(provider, prepared, params)


def run(test: Callable[[Any], Awaitable[None]]) -> None:
    """Runs the test in an event loop, with a clock that it moves."""

    async def within() -> None:
        with testing.clock() as clock:
            await test(clock)

    asyncio.run(within())


def test_a_page_redirects_to_the_login_which_returns_to_the_page() -> None:
    async def test(_: Any) -> None:
        async with served() as (_provider, browser):
            login = await browser.begin_login("/app/page", "a=1&b=%20")
            assert login["response_type"] == "code"
            assert login["redirect_uri"] == "https://app.example/app/callback"
            assert (login["scope"], login["client_id"], login["x"]) == ("openid email", "gate:way", "1")
            assert login["code_challenge_method"] == "S256"
            answer = await browser.finish_login(login)
            assert (answer.status_code, answer.headers["location"]) == (302, "https://app.example/app/page?a=1&b=%20")
            assert list(browser.cookies) == ["__Host-session"], "the login's cookie is gone"
            action = await browser.ask(headers=[("x-user", "root"), ("cookie", "theme=dark")])
            assert action.set_headers == {"x-user": "ada@app.example"}
            assert list(action.remove_headers) == ["x-user", "cookie"]
            assert action.append_headers == {"cookie": "theme=dark"}
            identity = browser.identity
            assert (identity.subject, identity.method, identity.issuer) == ("ada", "oidc", browser.provider.issuer)

    run(test)


def test_only_requests_for_pages_are_redirected_to_the_login() -> None:
    async def test(_: Any) -> None:
        async with served() as (_provider, browser):
            for more in (
                {"method": "POST"}, {"method": "HEAD"}, {"headers": [("sec-fetch-mode", "cors")]},
            ):  # fmt: skip
                action = await browser.ask(**more)
                assert (action.status_code, action.headers["www-authenticate"]) == (401, "Cookie")
            ctx = testing.request(headers={"accept": "application/json"}, prepared=browser.prepared)
            assert (await policy.on_request(ctx, browser.params)).status_code == 401
            assert browser.cookies == {}

    run(test)


def test_a_login_returns_only_to_this_host() -> None:
    async def test(_: Any) -> None:
        async with served() as (_provider, browser):
            for path in ("//evil.example/", "/\\evil.example", "/app@evil.example"):
                answer = await browser.finish_login(await browser.begin_login(path))
                assert answer.headers["location"] == f"https://app.example{path}"
                browser.cookies.clear()
                browser.provider.claims.clear()
            await browser.ask(authority="evil.example")
            login = await browser.begin_login()
            assert login["redirect_uri"] == "https://app.example/app/callback"

    run(test)


def test_a_session_ends_at_its_time_and_with_its_key() -> None:
    async def test(clock: Any) -> None:
        async with served() as (provider, browser):
            await browser.log_in()
            await clock.advance_async(3599)
            assert not isinstance(await browser.ask(), ImmediateResponse)
            rotated = {**browser.params, "cookieKeys": [NEW, OLD]}
            async with testing.prepared(policy, rotated) as prepared:
                other = Browser(provider, prepared, rotated)
                other.cookies = dict(browser.cookies)
                assert not isinstance(await other.ask(), ImmediateResponse)
            gone = {**browser.params, "cookieKeys": [NEW]}
            async with testing.prepared(policy, gone) as prepared:
                other = Browser(provider, prepared, gone)
                other.cookies = dict(browser.cookies)
                assert (await other.ask()).status_code == 302
            await clock.advance_async(1)
            assert (await browser.ask()).status_code == 302

    run(test)


def test_a_session_is_bound_to_its_client() -> None:
    async def test(_: Any) -> None:
        async with served() as (provider, browser):
            await browser.log_in()
            for more in ({"clientId": "other"}, {"issuer": provider.issuer + "/"}, {"origin": "https://b.example"}):
                other_params = {**browser.params, **more}
                async with testing.prepared(policy, other_params) as prepared:
                    other = Browser(provider, prepared, other_params)
                    other.cookies = dict(browser.cookies)
                    assert isinstance(await other.ask(), ImmediateResponse)

    run(test)


def test_changed_cookies_are_ignored() -> None:
    async def test(_: Any) -> None:
        async with served() as (_provider, browser):
            login = await browser.begin_login()
            ((_, login_cookie),) = browser.cookies.items()
            await browser.finish_login(login)
            good = browser.cookies["__Host-session"]
            assert good.startswith("1.")
            changed = [
                "", "1.", "1", good[2:], "0" + good[1:], "9" + good[1:], "-1" + good[1:], good[:-1],
                good + "A", good[:40] + ("A" if good[40] != "A" else "B") + good[41:], f"1.{login_cookie}", "1.AAAA",
                "1." + "A" * 3000, "1.%%%", "1.é",
            ]  # fmt: skip
            for value in changed:
                browser.cookies = {"__Host-session": value}
                assert isinstance(await browser.ask(), ImmediateResponse), value
            browser.cookies = {"__Host-session": good}
            assert isinstance(await browser.ask(headers=[("cookie", "__Host-session=x")]), ImmediateResponse), "two"
            browser.cookies = {"__Host-session": "x"}
            answer = await browser.ask(headers=[("cookie", f"__Host-session={good}")])
            assert isinstance(answer, ImmediateResponse), "two, the other way round"
            browser.cookies = {"session": good}
            assert isinstance(await browser.ask(), ImmediateResponse), "another name"

    run(test)


def test_a_session_may_need_several_cookies_up_to_a_limit() -> None:
    async def test(_: Any) -> None:
        async with served() as (provider, browser):
            provider.claims["groups"] = ["g" * 50] * 60
            await browser.log_in()
            assert sorted(browser.cookies) == ["__Host-session", "__Host-session-1", "__Host-session-2"]
            assert not isinstance(action := await browser.ask(), ImmediateResponse)
            assert action.append_headers == {}
            assert browser.identity.claims["groups"] == ["g" * 50] * 60
            del browser.cookies["__Host-session-1"]
            assert (await browser.ask()).status_code == 302
            provider.claims = {"groups": ["g" * 50] * 200}
            assert (await browser.log_in()).status_code == 502

    run(test)


def test_an_answer_is_valid_only_in_the_browser_that_began_the_login() -> None:
    async def test(clock: Any) -> None:
        async with served() as (provider, browser):
            victim = Browser(provider, browser.prepared, browser.params)
            login = await browser.begin_login()
            assert (await victim.finish_login(login)).status_code == 400, "an attacker's code and state"
            await victim.begin_login()
            assert (await victim.finish_login(login)).status_code == 400
            for state in ("", "x", login["state"][:8], login["state"] + "x", login["state"][:-1], "é", "%00"):
                assert (await browser.finish_login(login, state=state)).status_code == 400
            twice = f"state={login['state']}&state={login['state']}&code={login['code_challenge']}"
            assert (await browser.ask("/app/callback", twice)).status_code == 400
            assert (await browser.ask("/app/callback", f"state={login['state']}", method="POST")).status_code == 400
            assert (await browser.finish_login(login, iss="https://evil.example")).status_code == 400, (
                "mixed up (RFC 9207)"
            )
            assert (await browser.finish_login(login, code="wrong")).status_code == 400
            assert (await browser.finish_login(login, code="")).status_code == 403
            assert (await browser.finish_login(login, error="access_denied")).status_code == 403
            assert provider.paths.count("/token") == 1, "a wrong code alone is worth asking"
            await clock.advance_async(599)
            provider.claims |= {"exp": NOW + 900}
            assert (await browser.finish_login(login)).status_code == 302
            login = await victim.begin_login()
            await clock.advance_async(600)
            assert (await victim.finish_login(login)).status_code == 400, "too late"

    run(test)


def test_the_token_requests_of_a_login_are_limited() -> None:
    """Else one cookie, which any client gets, could cause any number of requests with the client's secret."""

    async def test(_: Any) -> None:
        async with served() as (provider, browser):
            login = await browser.begin_login()
            cookies = dict(browser.cookies)
            for _again in range(policy.MAX_ATTEMPTS + 3):
                browser.cookies = dict(cookies)
                assert (await browser.finish_login(login, code="wrong")).status_code == 400
            browser.cookies = dict(cookies)
            assert (await browser.finish_login(login)).status_code == 400
            assert provider.paths.count("/token") == policy.MAX_ATTEMPTS
            browser.cookies, provider.claims = {}, {}
            assert (await browser.log_in()).status_code == 302, "another login is another one"

    run(test)


def test_the_token_requests_of_a_login_are_counted_by_all_processes() -> None:
    async def test(_: Any) -> None:
        with testing.store():
            async with served() as (provider, browser), testing.prepared(policy, browser.params) as prepared:
                other = Browser(provider, prepared, browser.params)
                login = await browser.begin_login()
                other.cookies = dict(browser.cookies)
                for _again in range(policy.MAX_ATTEMPTS):
                    assert (await browser.finish_login(login, code="wrong")).status_code == 400
                assert (await other.finish_login(login)).status_code == 400
                assert provider.paths.count("/token") == policy.MAX_ATTEMPTS

    run(test)


def test_users_stay_logged_in_without_the_store() -> None:
    async def test(_: Any) -> None:
        with testing.store(away=True):
            async with served() as (_provider, browser):
                assert (await browser.log_in()).status_code == 302
                assert "__Host-session" in browser.cookies

    run(test)


def test_logins_in_several_tabs_up_to_a_limit() -> None:
    async def test(_: Any) -> None:
        async with served() as (provider, browser):
            logins = []
            for _ in range(4):
                provider.claims.clear()
                logins.append((await browser.begin_login(), dict(provider.claims)))
            for login, claims in logins:
                provider.claims = claims
                assert (await browser.finish_login(login)).status_code == 302
            browser.cookies.clear()
            for _ in range(20):
                await browser.begin_login()
                assert len(browser.cookies) <= 4

    run(test)


def test_cookies_that_only_look_like_those_of_logins() -> None:
    async def test(_: Any) -> None:
        async with served() as (_, browser):
            names = ["x y", "x", "", "a,b", "123456789", "\udcff2345678", "1234567;"]
            others = "; ".join(f"__Host-session-login-{name}=v" for name in names)
            assert (await browser.ask(headers=[("cookie", others)])).status_code == 302
            assert (await browser.ask("/app/logout", headers=[("cookie", others)])).status_code == 302

    run(test)


@pytest.mark.parametrize(
    "claims",
    [
        {"nonce": "other"}, {"nonce": None}, {"nonce": 1}, {"aud": "other"}, {"aud": []}, {"aud": None},
        {"aud": ["gate:way", "x"]}, {"aud": ["gate:way", "x"], "azp": "x"}, {"azp": "x"}, {"iss": "https://x"},
        {"iss": None}, {"sub": None}, {"sub": 1}, {"exp": NOW - 30}, {"exp": None}, {"exp": True}, {"exp": "99999999"},
        {"iat": NOW + 31}, {"iat": None}, {"iat": False}, {"email": "a\r\nx-admin: 1"}, {"x": float("inf")},
        {"x": "\ud800"},
    ],
)  # fmt: skip
def test_invalid_id_tokens_are_refused(claims: dict[str, Any]) -> None:
    async def test(_: Any) -> None:
        async with served() as (provider, browser):
            login = await browser.begin_login()
            provider.claims |= claims
            assert (await browser.finish_login(login)).status_code == 400
            assert "__Host-session" not in browser.cookies

    run(test)


def test_id_tokens_with_other_keys_are_refused() -> None:
    async def test(_: Any) -> None:
        async with served() as (provider, browser):
            bad: list[Callable[[], Any]] = [
                lambda: provider.id_token(OTHER_KEY), lambda: provider.id_token(None, "none"),
                lambda: provider.id_token("a secret for all who know the public key", "HS256"),
                lambda: provider.id_token(kid="x"), lambda: "", lambda: "a.b.c",
                lambda: None, lambda: 1, lambda: provider.id_token()[:-8] + "AAAAAAAA",
                lambda: provider.id_token(OTHER_KEY, jku="https://evil.example"), lambda: provider.id_token(crit=["x"]),
            ]  # fmt: skip
            for token in bad:
                provider.token = token
                assert (await browser.log_in()).status_code == 400
            assert "__Host-session" not in browser.cookies

    run(test)


def test_a_new_key_of_the_provider() -> None:
    async def test(_: Any) -> None:
        async with served() as (provider, browser):
            provider.keys["two"], provider.signs = OTHER_KEY, "two"
            assert (await browser.log_in()).status_code == 302
            assert "__Host-session" in browser.cookies

    run(test)


def eddsa_token(provider: Provider, key: Any, algorithm: str) -> str:
    signer = jwt.PyJWS()
    signer.register_algorithm("Ed25519", OKPAlgorithm())
    claims = {"iss": provider.issuer, "aud": "gate:way", "sub": "ada", "exp": NOW + 60, "iat": NOW} | provider.claims
    return signer.encode(json.dumps(claims).encode(), key, algorithm, {"kid": "ed"})


@pytest.mark.parametrize("published", ["EdDSA", "Ed25519", None])
@pytest.mark.parametrize("algorithm", ["EdDSA", "Ed25519"])
def test_a_key_for_ed25519_may_have_the_older_name(algorithm: str, published: str | None) -> None:
    """RFC 9864 deprecates the name EdDSA in favour of Ed25519."""

    async def test(_: Any) -> None:
        key = ed25519.Ed25519PrivateKey.generate()
        async with served() as (provider, browser):
            named = {"alg": published} if published else {}
            provider.listed = [json.loads(OKPAlgorithm.to_jwk(key.public_key())) | {"kid": "ed"} | named]
            provider.token = lambda: eddsa_token(provider, key, algorithm)
            assert (await browser.log_in()).status_code == 302
            browser.cookies.clear()
            provider.claims.clear()
            other = ed25519.Ed25519PrivateKey.generate()
            provider.token = lambda: eddsa_token(provider, other, algorithm)
            assert (await browser.log_in()).status_code == 400

    run(test)


def test_keys_of_ed448_are_not_used_for_ed25519() -> None:
    async def test(_: Any) -> None:
        key = ed448.Ed448PrivateKey.generate()
        for published in ("EdDSA", "Ed25519"):
            async with served() as (provider, browser):
                provider.listed = [json.loads(OKPAlgorithm.to_jwk(key.public_key())) | {"kid": "ed", "alg": published}]
                provider.token = lambda provider=provider: eddsa_token(provider, key, "Ed25519")
                assert (await browser.log_in()).status_code == 400

    run(test)


def test_logout_ends_the_session_here_and_at_the_provider() -> None:
    async def test(_: Any) -> None:
        async with served() as (provider, browser):
            await browser.log_in()
            await browser.ask("/app/other", headers=[("cookie", "a=b")])
            answer = await browser.ask("/app/logout")
            parts = urlsplit(answer.headers["location"])
            query = {name: value for name, (value,) in parse_qs(parts.query).items()}
            assert parts.path == "/end"
            assert jwt.decode(query.pop("id_token_hint"), options={"verify_signature": False})["sub"] == "ada"
            assert query == {"client_id": "gate:way", "post_logout_redirect_uri": "https://app.example/bye"}
            assert browser.cookies == {}
            again = await browser.ask("/app/logout")
            assert again.headers["location"] == "https://app.example/bye", "without a session there is none to end"
            assert (await browser.ask()).status_code == 302
            assert provider.paths.count("/token") == 1

    run(test)


def test_a_provider_that_cannot_be_reached() -> None:
    async def test(clock: Any) -> None:
        async with served() as (provider, browser):
            login = await browser.begin_login()
            provider.away = True
            answer = await browser.finish_login(login)
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
            provider.away = False
            assert (await browser.finish_login(login)).status_code == 302
            provider.away = True
            await clock.advance_async(900)
            assert not isinstance(await browser.ask(), ImmediateResponse), "sessions go on"
            async with testing.prepared(policy, browser.params) as prepared:
                late = Browser(provider, prepared, browser.params)
                assert (await late.ask()).status_code == 503
                assert (await late.ask("/app/logout")).headers["location"] == "https://app.example/bye"
                late.cookies = dict(browser.cookies)
                assert not isinstance(await late.ask(), ImmediateResponse)
                provider.away = False
                await clock.advance_async(1)
                late.cookies.clear()
                assert (await late.ask()).status_code == 302

    run(test)


@pytest.mark.parametrize(
    "answer",
    [
        lambda: web.Response(text="<html>"), lambda: web.json_response([]), lambda: web.Response(text="[" * 100_000),
        lambda: web.Response(status=302, headers={"location": "/elsewhere"}), lambda: web.Response(status=500),
        lambda: web.Response(status=401), lambda: web.Response(body=b" " * (1 << 21)),
        lambda: web.Response(body=b"\xff"),
    ],
)  # fmt: skip
def test_a_provider_with_invalid_token_responses(answer: Callable[[], web.Response]) -> None:
    async def test(_: Any) -> None:
        async with served() as (provider, browser):
            provider.token = answer
            assert (await browser.log_in()).status_code == 503
            assert "__Host-session" not in browser.cookies

    run(test)


@pytest.mark.parametrize(
    "published",
    [
        {"issuer": "https://evil.example"}, {"authorization_endpoint": None}, {"token_endpoint": "file:///x"},
        {"jwks_uri": 1}, {"authorization_endpoint": "https://id.example/\r\nx: y"},
        {"end_session_endpoint": "javascript:x"},
    ],
)  # fmt: skip
def test_a_provider_with_invalid_metadata(published: dict[str, Any]) -> None:
    async def test(_: Any) -> None:
        async with served() as (provider, browser):
            provider.published = published
            async with testing.prepared(policy, browser.params) as prepared:
                late = Browser(provider, prepared, browser.params)
                assert (await late.ask()).status_code == 503

    run(test)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"logoutPath": "/app/callback"}, "another path than callbackPath"),
        ({"claimHeaders": {"host": "a"}}, "use authority"),
        ({"cookieKeys": [OLD, testing.secret("k" * 31)]}, r"cookieKeys\[1\]: expected 32 characters and more"),
    ],
)  # fmt: skip
def test_invalid_parameters(more: dict[str, Any], says: str) -> None:
    async def test(_: Any) -> None:
        async with served(**more):
            pass

    with pytest.raises((ValueError, ActionError), match=says):
        run(test)


def test_cookies_of_an_http_origin_are_not_secure() -> None:
    async def test(_: Any) -> None:
        async with served(origin="http://localhost:8080") as (_provider, browser):
            ctx = testing.request(headers={"accept": "text/html"}, prepared=browser.prepared)
            (line,) = (await policy.on_request(ctx, browser.params)).headers["set-cookie"]
            assert line.startswith("session-login-")
            assert "Secure" not in line

    run(test)
