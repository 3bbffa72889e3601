"""Lets a browser pass once its user has logged in at an OpenID provider (OpenID Connect Core 1.0, 3.1, with PKCE).

The session is a cookie, encrypted and authenticated (AES-256-GCM) with a key of the parameters; nodes keep no state. It
holds the claims of the ID token, and the token itself if a logout needs it. Another such cookie holds the data of a
login until the user comes back (state, nonce, the code's verifier, the requested page), so that an answer of the
provider is valid only in the browser that began the login, and for LOGIN_SECONDS. The store counts the requests for
tokens of each login, at most MAX_ATTEMPTS, since any client can get a login cookie and repeat its last step. Later
policies find the user in `ctx.identity`.

While the provider does not answer, sessions remain valid, and requests without one get 503. Limits: a session can be
ended early only by its own browser, or by a change of the keys for all users; access and refresh tokens are discarded.
"""

from __future__ import annotations

import asyncio
import base64
import copy
import hashlib
import hmac
import html
import json
import logging
import re
import secrets
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote_plus, urlencode

import aiohttp
import jwt
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from sdk import clock
from sdk.action import ActionError, check
from sdk.background import Fresh, NotReadyError
from sdk.cookies import set_cookie
from sdk.policy import Identity, ImmediateResponse, RequestAction, RequestContext, UpstreamRequestModifications
from sdk.secrets import Secret
from sdk.store import AsyncStore, StoreUnavailableError

FETCH_SECONDS = 5.0  # for the provider's documents
REFRESH_SECONDS = 300.0
LOGIN_SECONDS = 600  # for a login
MAX_ATTEMPTS = 3  # of one login to get a token; then the user has to load the page again
MAX_LOGINS = 4  # under way in one browser; a further login drops the others
MAX_DOCUMENT_BYTES = 1 << 20  # of an answer of the provider
MIN_KEY = 32  # characters of a key; the schema cannot check the length of a named secret
CHUNK, MAX_CHUNKS = 3800, 4  # characters of a cookie, which browsers keep up to 4096 bytes; cookies of a session
ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"]
LOGIN = re.compile(r"[A-Za-z0-9_-]{8}")  # the end of a login cookie's name
log = logging.getLogger(__name__)


class RefusedError(Exception):
    """The request is refused. text: for the client; it repeats nothing that the client has sent."""

    def __init__(self, status: int, title: str, text: str) -> None:
        super().__init__(text)
        self.status, self.title, self.text = status, title, text

    def answer(self) -> ImmediateResponse:
        headers = {"content-type": "application/problem+json", "cache-control": "no-store"}
        if self.status == 401:
            headers["www-authenticate"] = "Cookie"  # RFC 9110, 15.5.2, requires a challenge, and no scheme fits
        if self.status == 503:
            headers["retry-after"] = "5"
        body = {"type": "about:blank", "title": self.title, "status": self.status, "detail": self.text}
        return ImmediateResponse(self.status, headers, json.dumps(body))


def unavailable() -> RefusedError:
    return RefusedError(503, "Service Unavailable", "the login provider does not answer")


def failed_login() -> RefusedError:
    return RefusedError(400, "Bad Request", "the login has failed; load the page again")


def context(params: Mapping[str, Any]) -> str:
    """Returns the parameters to which a cookie is bound."""
    return "\n".join(params[name] for name in ("issuer", "clientId", "origin"))


# ------------------------------------------------------------------ cookies


class Seal:
    """Encrypts JSON objects with the first key, and decrypts them with any of the keys."""

    def __init__(self, keys: Iterable[Secret], context: str) -> None:
        """context: a text that must be the same for both, such as the client. ValueError: a key is too short."""
        self._ciphers = [self._cipher(key.reveal(), number) for number, key in enumerate(keys)]
        self._context = context

    def close(self, kind: str, value: Mapping[str, Any]) -> str:
        """Encrypts a value. kind: its purpose, which `open` must name too."""
        nonce = secrets.token_bytes(12)
        sealed = self._ciphers[0].encrypt(nonce, json.dumps(value).encode(), self._associated_data(kind))
        return base64.urlsafe_b64encode(nonce + sealed).rstrip(b"=").decode()

    def open(self, kind: str, text: str) -> dict[str, Any] | None:
        """Decrypts a value; None if no key fits, it is of another kind, or it has expired."""
        try:
            raw = base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)
        except ValueError:
            return None
        for cipher in self._ciphers if len(raw) > 28 else []:
            try:
                opened: dict[str, Any] = json.loads(cipher.decrypt(raw[:12], raw[12:], self._associated_data(kind)))
            except InvalidTag:
                continue
            return opened if opened["until"] > clock.now() else None
        return None

    @staticmethod
    def _cipher(key: str, number: int) -> AESGCM:
        if len(key) < MIN_KEY:
            raise ValueError(f"cookieKeys[{number}]: expected {MIN_KEY} characters and more, got fewer")
        return AESGCM(HKDF(SHA256(), 32, None, b"oidc-login cookie").derive(key.encode()))

    def _associated_data(self, kind: str) -> bytes:
        return f"{kind}\n{self._context}".encode()


@dataclass(frozen=True, slots=True)
class Jar:
    """The cookies of an attachment."""

    name: str
    secure: bool

    def cookie(self, name: str, value: str, seconds: int) -> str:
        return set_cookie(name, value, max_age=seconds, secure=self.secure)

    def chunks(self, sealed: str, seconds: int) -> list[str]:
        """Returns the set-cookie headers of a session. The first cookie begins with their number."""
        parts = [sealed[at : at + CHUNK] for at in range(0, len(sealed), CHUNK)]
        if len(parts) > MAX_CHUNKS:
            raise RefusedError(502, "Bad Gateway", "the provider's claims about the user do not fit into cookies")
        values = [f"{len(parts)}.{parts[0]}", *parts[1:]]
        return [self.cookie(self._part(number), value, seconds) for number, value in enumerate(values)]

    def sealed(self, ctx: RequestContext) -> str | None:
        """The encrypted session of a request; None if it has none."""
        count, _, first = self._single_value(ctx, self.name).partition(".")
        if count not in {str(number) for number in range(1, MAX_CHUNKS + 1)}:
            return None
        return first + "".join(self._single_value(ctx, self._part(number)) for number in range(1, int(count)))

    def login(self, state: str) -> str:
        """The name of a login's cookie."""
        return f"{self.name}-login-{state[:8]}"

    def login_value(self, ctx: RequestContext, state: str) -> str:
        return self._single_value(ctx, self.login(state))

    def login_cookies(self, ctx: RequestContext) -> list[str]:
        """The names of login cookies. Others are ignored, since a response cannot name all that a client may send."""
        start = f"{self.name}-login-"
        return [name for name in ctx.cookies if name.startswith(start) and LOGIN.fullmatch(name, len(start))]

    def session_cookies(self, ctx: RequestContext) -> list[str]:
        every = {self._part(number) for number in range(MAX_CHUNKS)}
        return [name for name in ctx.cookies if name in every]

    def expire(self, names: Iterable[str]) -> list[str]:
        return [self.cookie(name, "", 0) for name in names]

    def _part(self, number: int) -> str:
        return f"{self.name}-{number}" if number else self.name

    def _single_value(self, ctx: RequestContext, name: str) -> str:
        """Returns the cookie's value; "" if there is none, or several."""
        values = ctx.cookies.get_all(name)
        return values[0] if len(values) == 1 else ""


# ------------------------------------------------------------------ the provider


@dataclass(frozen=True, slots=True)
class Metadata:
    """A provider's metadata: its endpoints, and its keys by their ids."""

    authorization: str
    token: str
    end_session: str
    keys: Mapping[str | None, jwt.PyJWK]


class Provider:
    """An OpenID provider."""

    def __init__(self, session: aiohttp.ClientSession, params: Mapping[str, Any]) -> None:
        self._session, self._params = session, params
        self.metadata: Fresh[Metadata] = Fresh(REFRESH_SECONDS, self.fetch, name=f"provider {params['issuer']}")

    async def fetch(self) -> Metadata:
        """Fetches the metadata (OpenID Connect Discovery 1.0, 4). ValueError, aiohttp.ClientError, TimeoutError."""
        issuer = self._params["issuer"]
        async with asyncio.timeout(FETCH_SECONDS):
            discovered = await self._get(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
            if discovered.get("issuer") != issuer:
                raise ValueError(f"expected the issuer {issuer}, got {discovered.get('issuer')!r:.200}")
            authorization, token, keys = (
                self._endpoint(discovered, name) for name in ("authorization_endpoint", "token_endpoint", "jwks_uri")
            )
            jwks = await self._get(keys)
        end = self._endpoint(discovered, "end_session_endpoint") if "end_session_endpoint" in discovered else ""
        return Metadata(authorization, token, end, keys_of(jwks))

    def _endpoint(self, discovered: Mapping[str, Any], name: str) -> str:
        schemes = ("https://",) if self._params["issuer"].startswith("https://") else ("https://", "http://")
        url = discovered.get(name)
        if not isinstance(url, str) or not url.startswith(schemes) or not url.isascii() or not url.isprintable():
            raise ValueError(f"expected {name} with {' or '.join(schemes)}, got {url!r:.200}")
        return url

    async def _get(self, url: str) -> dict[str, Any]:
        async with self._session.get(url, allow_redirects=False) as answer:
            return await document(answer)

    async def id_token(self, code: str, verifier: str, redirect: str, seconds: float) -> str:
        """Exchanges the code for an ID token. RefusedError: the provider returns none."""
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect, "code_verifier": verifier}
        credentials = quote_plus(self._params["clientId"]), quote_plus(self._params["clientSecret"].reveal())
        headers = {"authorization": aiohttp.encode_basic_auth(*credentials), "accept": "application/json"}
        url = self.metadata.value.token
        try:
            async with (
                asyncio.timeout(seconds),
                self._session.post(url, data=form, headers=headers, allow_redirects=False) as answer,
            ):
                if answer.status in {400, 403}:  # RFC 6749, 5.2: the code is invalid or used
                    raise failed_login()
                token = (await document(answer)).get("id_token")
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            log.warning("%s did not return a token: %s: %s", url, type(error).__name__, error)
            raise unavailable() from None
        if not isinstance(token, str):
            raise failed_login()
        return token

    async def claims(self, token: str, nonce: str) -> dict[str, Any]:
        """The claims of a valid ID token (OpenID Connect Core 1.0, 3.1.3.7). RefusedError: it is not valid."""
        try:
            header = jwt.get_unverified_header(token)
            key = rename_algorithm(await self._key(header.get("kid")), header.get("alg"))
            claims: dict[str, Any] = jwt.decode(
                token, key, algorithms=ALGORITHMS, audience=self._params["clientId"], issuer=self._params["issuer"],
                options={"require": ["exp", "iat", "iss", "aud", "sub"], "verify_exp": False, "verify_iat": False,
                         "verify_nbf": False},
            )  # fmt: skip
            self._check(claims, nonce)
        except (jwt.PyJWTError, ValueError, KeyError, RecursionError) as error:
            log.warning("an ID token was refused: %s: %s", type(error).__name__, error)
            raise failed_login() from None
        return claims

    def _check(self, claims: Mapping[str, Any], nonce: str) -> None:
        """Does the checks that PyJWT does not do, or not by `sdk.clock`."""
        skew, now = self._params["clockSkewSeconds"], clock.now()
        for name in ("exp", "iat"):
            if isinstance(claims[name], bool) or not isinstance(claims[name], int | float):
                raise ValueError(f"expected {name} to be a number")
        if not claims["iat"] - skew <= now < claims["exp"] + skew:
            raise ValueError("expected a token that is valid now, got one that has expired or is not valid yet")
        if not isinstance(own := claims.get("nonce"), str) or not hmac.compare_digest(own.encode(), nonce.encode()):
            raise ValueError("expected the nonce of this login")
        several = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
        json.dumps(claims, allow_nan=False, ensure_ascii=False).encode()  # raises if they cannot be stored in a cookie
        if claims.get("azp", None if several else self._params["clientId"]) != self._params["clientId"]:
            raise ValueError("expected azp to be this client")

    async def _key(self, key_id: object) -> jwt.PyJWK:
        """Returns the key of this id. If it is unknown, fetches the keys, since the provider just signed with it."""
        if not isinstance(key_id, str | None):
            raise KeyError("kid")
        keys = self.metadata.value.keys
        if key_id not in keys:
            try:
                keys = (await self.fetch()).keys
            except (aiohttp.ClientError, TimeoutError, ValueError):
                raise unavailable() from None
            self.metadata.refresh_soon()
        return keys[key_id]


def as_eddsa(jwk: Any) -> Any:
    """Returns the JWK with the older name EdDSA instead of Ed25519 (RFC 9864), which PyJWT does not know."""
    is_ed25519 = isinstance(jwk, dict) and (jwk.get("crv"), jwk.get("alg")) == ("Ed25519", "Ed25519")
    return jwk | {"alg": "EdDSA"} if is_ed25519 else jwk


def rename_algorithm(key: jwt.PyJWK, algorithm: object) -> jwt.PyJWK:
    """Returns the key with the token's name for its algorithm, since Ed25519 is EdDSA with that curve."""
    if algorithm == "Ed25519" and key.algorithm_name == "EdDSA" and isinstance(key.key, Ed25519PublicKey):
        key = copy.copy(key)
        key.algorithm_name = "Ed25519"
    return key


def keys_of(document: dict[str, Any]) -> dict[str | None, jwt.PyJWK]:
    """The public keys for signatures of a JWK Set, by their ids. ValueError: there are none."""
    try:
        jwks = document.get("keys")
        listed = jwt.PyJWKSet([as_eddsa(jwk) for jwk in jwks] if isinstance(jwks, list) else []).keys
    except jwt.PyJWTError as error:
        raise ValueError(f"expected a JWK Set with usable keys: {error}") from None
    keys = {
        key.key_id: key for key in listed
        if key.algorithm_name in ALGORITHMS and key.public_key_use in {None, "sig"} and not hasattr(key.key, "sign")
        and getattr(key.key, "key_size", 2048) >= (2048 if key.key_type == "RSA" else 0)
    }  # fmt: skip
    if not keys:
        raise ValueError("expected public keys for signatures, got none")
    return keys


async def document(answer: aiohttp.ClientResponse) -> dict[str, Any]:
    """The JSON object in an answer. ValueError: there is none."""
    if answer.status != 200:
        raise ValueError(f"expected the status 200, got {answer.status}; redirects are not followed")
    body = bytearray()
    async for chunk in answer.content.iter_chunked(1 << 16):
        body += chunk
        if len(body) > MAX_DOCUMENT_BYTES:
            raise ValueError(f"expected at most {MAX_DOCUMENT_BYTES} bytes")
    try:
        value = json.loads(body)
    except RecursionError:
        raise ValueError("expected JSON that is not nested so deeply") from None
    if not isinstance(value, dict):
        raise ValueError("expected a JSON object")
    return value


# ------------------------------------------------------------------ requests


@dataclass(frozen=True, slots=True)
class Gate:
    """Decides on the requests of an attachment."""

    provider: Provider
    seal: Seal
    jar: Jar
    attempts: AsyncStore
    """The numbers of token requests of logins, by the digests of their states."""
    params: Mapping[str, Any]

    async def answer(self, ctx: RequestContext) -> RequestAction:
        """The action for a request. RefusedError: the request is refused."""
        if ctx.path == self.params["callbackPath"]:
            return await self._finish_login(ctx)
        sealed = self.jar.sealed(ctx)
        session = self.seal.open("session", sealed) if sealed else None
        if ctx.path == self.params.get("logoutPath"):
            return self._log_out(ctx, session)
        if session is None:
            return self._begin_login(ctx)
        claims = session["claims"]
        ctx.identity = Identity(claims["sub"], claims["iss"], (), claims, "oidc")
        return self._pass_on(ctx, claims)

    def _pass_on(self, ctx: RequestContext, claims: Mapping[str, Any]) -> UpstreamRequestModifications:
        names = self.params["claimHeaders"]
        remove, append = list(names), {}
        if not self.params["forwardCookie"]:
            left = ctx.cookies.without(*self.jar.session_cookies(ctx), *self.jar.login_cookies(ctx))
            remove, append = [*remove, "cookie"], dict(left.headers)
        return UpstreamRequestModifications(
            remove_headers=remove, set_headers=headers_of(claims, names), append_headers=append
        )

    def _begin_login(self, ctx: RequestContext) -> ImmediateResponse:
        """Redirects a request for a page to the provider."""
        navigates = ctx.headers.get("sec-fetch-mode", "navigate") == "navigate"
        if ctx.method != "GET" or not navigates or "text/html" not in ctx.headers.get("accept", ""):
            raise RefusedError(401, "Unauthorized", "a login is required; open a page of this host in the browser")
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        page = ctx.raw_path + (f"?{ctx.query}" if ctx.query else "")
        login = {"state": state, "nonce": nonce, "verifier": verifier, "asked": page}
        sealed = self.seal.close("login", {**login, "until": clock.now() + LOGIN_SECONDS})
        if len(sealed) > CHUNK:
            raise RefusedError(414, "URI Too Long", "the page's address is too long to return to after a login")
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        query = {
            "response_type": "code", "client_id": self.params["clientId"], "redirect_uri": self._callback,
            "scope": " ".join(dict.fromkeys(["openid", *self.params["scopes"]])), "state": state, "nonce": nonce,
            "code_challenge": challenge, "code_challenge_method": "S256",
        }  # fmt: skip
        others = self.jar.login_cookies(ctx)
        old = self.jar.expire(others) if len(others) >= MAX_LOGINS else []
        cookies = [*old, self.jar.cookie(self.jar.login(state), sealed, LOGIN_SECONDS)]
        return redirect(self._metadata().authorization, query, cookies)

    async def _finish_login(self, ctx: RequestContext) -> ImmediateResponse:
        """Answers the browser that comes back from the provider with a code."""
        answer = {name: ctx.query_params.get_all(name) for name in ("state", "code", "iss", "error")}
        if ctx.method != "GET" or any(len(values) > 1 for values in answer.values()) or not answer["state"]:
            raise failed_login()
        state = answer["state"][0]
        login = self.seal.open("login", self.jar.login_value(ctx, state))
        if login is None or not hmac.compare_digest(login["state"].encode(), state.encode("utf-8", "surrogateescape")):
            raise failed_login()  # the login of another browser, or an expired one
        if answer["iss"] not in ([], [self.params["issuer"]]):  # RFC 9207
            raise failed_login()
        if answer["error"] or not answer["code"]:
            raise RefusedError(403, "Forbidden", "the provider has refused the login")
        self._metadata()
        if await self._count_attempt(state) > MAX_ATTEMPTS:
            raise failed_login()
        seconds = ctx.time_remaining() * 0.9
        token = await self.provider.id_token(answer["code"][0], login["verifier"], self._callback, seconds)
        claims = await self.provider.claims(token, login["nonce"])
        headers_of(claims, self.params["claimHeaders"])
        lifetime = self.params["sessionSeconds"]
        session = {"until": clock.now() + lifetime, "claims": claims}
        if self.params.get("logoutPath"):
            session["id_token"] = token
        expired = self.jar.expire([self.jar.login(state)])
        return redirect(self.params["origin"] + login["asked"], {}, [
            *self.jar.chunks(self.seal.close("session", session), lifetime), *expired,
        ])  # fmt: skip

    async def _count_attempt(self, state: str) -> int:
        """Counts a token request of this login, and returns the new count. While the store does not answer, each counts
        as the first, since the provider accepts a code only once anyway."""
        try:
            return await self.attempts.increment(hashlib.sha256(state.encode()).digest(), ttl=LOGIN_SECONDS)
        except StoreUnavailableError as error:
            log.warning("an attempt to log in could not be counted: %s", error)
            return 1

    def _log_out(self, ctx: RequestContext, session: Mapping[str, Any] | None) -> ImmediateResponse:
        """OpenID Connect RP-Initiated Logout 1.0, 2. A link on another site must not log the user out unasked."""
        if not set(ctx.headers.get_all("sec-fetch-site")) <= {"same-origin", "none"}:
            return logout_page(self.params["origin"] + self.params["logoutPath"])
        cookies = self.jar.expire([*self.jar.session_cookies(ctx), *self.jar.login_cookies(ctx)])
        home = self.params["origin"] + self.params["loggedOutPath"]
        try:
            end = self.provider.metadata.value.end_session
        except NotReadyError:
            end = ""
        if not end or session is None or "id_token" not in session:
            return redirect(home, {}, cookies)
        query = {"id_token_hint": session["id_token"], "client_id": self.params["clientId"]}
        return redirect(end, {**query, "post_logout_redirect_uri": home}, cookies)

    @property
    def _callback(self) -> str:
        return f"{self.params['origin']}{self.params['callbackPath']}"

    def _metadata(self) -> Metadata:
        try:
            return self.provider.metadata.value
        except NotReadyError:
            raise unavailable() from None


def redirect(url: str, query: Mapping[str, str], cookies: list[str]) -> ImmediateResponse:
    location = f"{url}{'&' if '?' in url else '?'}{urlencode(query)}" if query else url
    headers: dict[str, Any] = {"location": location, "cache-control": "no-store"}
    return ImmediateResponse(302, headers | ({"set-cookie": cookies} if cookies else {}))


def logout_page(logout: str) -> ImmediateResponse:
    """Returns a page that asks a user who comes from another site. A click on its link comes from this site."""
    headers = {
        "content-type": "text/html; charset=utf-8", "cache-control": "no-store",
        "content-security-policy": "default-src 'none'; frame-ancestors 'none'", "x-frame-options": "DENY",
    }  # fmt: skip
    page = (
        '<!doctype html>\n<html lang="en"><meta name="viewport" content="width=device-width"><title>Log out</title>\n'
        f'<p>Another site has sent you here.</p>\n<p><a href="{html.escape(logout)}">Log out</a></p>\n</html>\n'
    )
    return ImmediateResponse(200, headers, page)


def headers_of(claims: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, str]:
    """Headers with claims. RefusedError: a claim has a control character."""
    values = {name: claims[claim] for name, claim in names.items() if claim in claims}
    headers = {name: value if isinstance(value, str) else json.dumps(value) for name, value in values.items()}
    try:
        check("on_request", UpstreamRequestModifications(set_headers=headers))
    except ActionError:
        raise failed_login() from None
    return headers


async def on_request(ctx: RequestContext, params: dict[str, Any]) -> RequestAction:
    try:
        return await ctx.prepared.answer(ctx)  # type: ignore[no-any-return]
    except RefusedError as refused:
        return refused.answer()


async def prepare(params: dict[str, Any]) -> AsyncIterator[Gate]:
    check("on_request", UpstreamRequestModifications(set_headers=dict.fromkeys(params["claimHeaders"], "")))
    if params["callbackPath"] == params.get("logoutPath"):
        raise ValueError("logoutPath: expected another path than callbackPath")
    secure = params["origin"].startswith("https://")
    jar = Jar(f"__Host-{params['cookieName']}" if secure else params["cookieName"], secure)
    seal = Seal(params["cookieKeys"], context(params))
    attempts = AsyncStore("logins", shared=True)  # a cookie is valid at all APIs with this client and origin
    # Compressed documents are not read, since their size is not known in advance.
    async with aiohttp.ClientSession(
        auto_decompress=False, headers={"accept-encoding": "identity"}, cookie_jar=aiohttp.DummyCookieJar()
    ) as session:
        provider = Provider(session, params)
        async with provider.metadata:
            yield Gate(provider, seal, jar, attempts, params)
