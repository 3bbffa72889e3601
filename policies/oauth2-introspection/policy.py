"""Lets a request pass only with a bearer token that the authorization server says is active (RFC 7662).

An instance has one HTTP client with a pool of connections. Each process caches an answer for `cacheSeconds`, but not
beyond the token's expiry; requests with the same token share one request to the server. If the server does not answer,
or its answer is invalid, the client gets 503, since the token cannot be verified. Later policies find the token's
subject in `ctx.identity`.

Limits: each unknown token causes a request to the server, at most MAX_ASKING at a time in a process, so put a rate
limit before this policy. The server's answer is protected by TLS only: signed answers (RFC 9701) are not supported.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import math
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote_plus

import aiohttp
from sdk import bearer, clock
from sdk.action import ActionError, check
from sdk.bearer import RefusedError
from sdk.metrics import Counter
from sdk.policy import Identity, RequestAction, RequestContext, UpstreamRequestModifications

MAX_CACHED = 10_000  # answers about active tokens, and as many about inactive ones
MAX_ASKING = 64  # requests to the server at a time
MAX_ANSWER_BYTES = 1 << 16
LOG_SECONDS = 10.0  # between two log lines about a server that does not answer

REFUSED = Counter("tokens_refused_total", "Requests that were refused because of their token.", labels=["reason"])
ASKED = Counter("introspections_total", "Requests to the authorization server.", labels=["outcome"])
log = logging.getLogger(__name__)


# ------------------------------------------------------------------ the server's answers


def read_answer(raw: bytes) -> dict[str, Any]:
    """Parses the server's answer, {"active": …} and further claims (RFC 7662, 2.2). ValueError: it is invalid."""
    claims = bearer.json_object(raw)
    if not isinstance(claims.get("active"), bool):
        raise ValueError("expected a JSON object with active, true or false")
    end = claims.get("exp", 0)
    if isinstance(end, bool) or not isinstance(end, int | float) or not isinstance(claims.get("sub", ""), str):
        raise ValueError("expected exp to be a number and sub a string")
    return claims


class Answers:
    """A cache of the last answers, each until it expires."""

    def __init__(self) -> None:
        self._entries: OrderedDict[bytes, tuple[float, dict[str, Any]]] = OrderedDict()

    def find(self, digest: bytes) -> dict[str, Any] | None:
        until, claims = self._entries.get(digest, (-math.inf, None))
        if clock.monotonic() >= until:
            return None
        self._entries.move_to_end(digest)
        return claims

    def put(self, digest: bytes, claims: dict[str, Any], seconds: float) -> None:
        self._entries[digest] = (clock.monotonic() + seconds, claims)
        self._entries.move_to_end(digest)
        if len(self._entries) > MAX_CACHED:
            self._entries.popitem(last=False)


class Introspection:
    """Asks the server, and caches its last answers. It runs in one event loop."""

    def __init__(self, session: aiohttp.ClientSession, params: Mapping[str, Any]) -> None:
        self._session, self._params = session, params
        self._active, self._inactive = Answers(), Answers()  # separate, so that invalid tokens displace no valid ones
        self._asking: dict[bytes, asyncio.Task[dict[str, Any] | None]] = {}
        self._logged_at = -math.inf

    async def introspect(self, token: str, seconds: float) -> dict[str, Any]:
        """Returns the server's answer about the token. RefusedError: the server does not answer."""
        digest = hashlib.sha256(token.encode()).digest()  # so that no token stays in memory
        if known := self._active.find(digest) or self._inactive.find(digest):
            return known
        asking = self._asking.get(digest)
        if asking is None:
            asking = self._asking[digest] = asyncio.create_task(self._ask(token, digest))
        try:
            async with asyncio.timeout(seconds):
                claims = await asyncio.shield(asking)  # other requests may wait for it when this one is cancelled
        except TimeoutError:
            claims = None
        if claims is None:
            raise RefusedError("unavailable", "the authorization server does not answer", "unavailable")
        return claims

    async def _ask(self, token: str, digest: bytes) -> dict[str, Any] | None:
        """Asks the server, and caches its answer; None if it does not answer. Raises only if it is cancelled."""
        try:
            async with asyncio.timeout(self._params["timeoutMilliseconds"] / 1000):
                claims = await self._post(token)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            ASKED.inc(outcome="failed")
            self._log(error)
            return None
        finally:
            del self._asking[digest]
        ASKED.inc(outcome="active" if claims["active"] else "inactive")
        self._cache(digest, claims)
        return claims

    async def _post(self, token: str) -> dict[str, Any]:
        form = {"token": token, "token_type_hint": "access_token"}
        if self._params["clientAuth"] == "post":
            form |= {"client_id": self._params["clientId"], "client_secret": self._params["clientSecret"].reveal()}
        async with self._session.post(self._params["url"], data=form, allow_redirects=False) as answer:
            if answer.status != 200:
                raise ValueError(f"expected the status 200, got {answer.status}; redirects are not followed")
            body = bytearray()
            async for chunk in answer.content.iter_chunked(1 << 14):
                body += chunk
                if len(body) > MAX_ANSWER_BYTES:
                    raise ValueError(f"expected at most {MAX_ANSWER_BYTES} bytes")
            return read_answer(bytes(body))

    def _cache(self, digest: bytes, claims: dict[str, Any]) -> None:
        seconds = self._params["cacheSeconds" if claims["active"] else "inactiveCacheSeconds"]
        if claims["active"] and "exp" in claims:
            seconds = min(seconds, claims["exp"] - clock.now())
        if seconds > 0:
            (self._active if claims["active"] else self._inactive).put(digest, claims, seconds)

    def _log(self, error: Exception) -> None:
        """Logs a failure, at most one in LOG_SECONDS, since each request may fail."""
        if clock.monotonic() - self._logged_at >= LOG_SECONDS:
            self._logged_at = clock.monotonic()
            log.warning("%s does not answer: %s: %s", self._params["url"], type(error).__name__, error)


# ------------------------------------------------------------------ requests


def strings_of(value: object) -> list[str]:
    """Returns the strings of a claim that is a string or a list of strings."""
    listed = value if isinstance(value, list) else [value]
    return [item for item in listed if isinstance(item, str)]


def identity_of(claims: Mapping[str, Any], params: Mapping[str, Any]) -> Identity:
    """Returns the identity of the token's subject. RefusedError: the token is not active, or does not suffice."""
    if not claims["active"]:
        raise RefusedError("inactive", "the token is not active")
    if params["audiences"] and set(params["audiences"]).isdisjoint(strings_of(claims.get("aud"))):
        raise RefusedError("audience", "the token is for another audience")
    scopes = tuple(
        dict.fromkeys(scope for text in strings_of(claims.get("scope")) for scope in text.split(" ") if scope)
    )
    fits = all if params["scopesMatch"] == "all" else any
    required = params["scopes"]
    if required and not fits(scope in scopes for scope in required):
        raise RefusedError("scopes", "the token lacks a required scope", "insufficient_scope", " ".join(required))
    issuer = claims.get("iss")
    issuer = issuer if isinstance(issuer, str) else params["url"]
    return Identity(claims.get("sub", ""), issuer, scopes, claims, "introspection")


def headers_of(claims: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, str]:
    """Returns the headers with claims. RefusedError: a claim has a control character."""
    values = {name: claims[claim] for name, claim in names.items() if claim in claims}
    headers = {name: value if isinstance(value, str) else json.dumps(value) for name, value in values.items()}
    try:
        check("on_request", UpstreamRequestModifications(set_headers=headers))
    except ActionError:
        raise RefusedError("claims", "the token has a claim that is not valid in a header") from None
    return headers


@dataclass(frozen=True, slots=True)
class Gate:
    """The requirements of an attachment."""

    server: Introspection
    remove: list[str]  # headers of clients that must not go upstream

    async def authorize(self, ctx: RequestContext, params: Mapping[str, Any]) -> UpstreamRequestModifications:
        """Returns the changes of the request for the upstream, and sets the identity. RefusedError."""
        token = bearer.token(ctx.headers, params["maxTokenBytes"])
        if token is None:
            if params["required"]:
                raise bearer.missing()
            return UpstreamRequestModifications(remove_headers=self.remove)
        claims = await self.server.introspect(token, ctx.time_remaining() * 0.9)
        identity, headers = identity_of(claims, params), headers_of(claims, params["claimHeaders"])
        ctx.identity = identity
        remove = self.remove if params["forwardToken"] else [*self.remove, "authorization"]
        return UpstreamRequestModifications(remove_headers=remove, set_headers=headers)


async def on_request(ctx: RequestContext, params: dict[str, Any]) -> RequestAction:
    try:
        return await ctx.prepared.authorize(ctx, params)  # type: ignore[no-any-return]
    except RefusedError as refused:
        REFUSED.inc(reason=refused.reason)
        return refused.answer()


async def prepare(params: dict[str, Any]) -> AsyncIterator[Gate]:
    check("on_request", UpstreamRequestModifications(set_headers=dict.fromkeys(params["claimHeaders"], "")))
    headers = {"accept": "application/json", "accept-encoding": "identity"}
    if params["clientAuth"] == "basic":  # RFC 6749, 2.3.1
        credentials = quote_plus(params["clientId"]), quote_plus(params["clientSecret"].reveal())
        headers["authorization"] = aiohttp.encode_basic_auth(*credentials)
    # Compressed answers are not read, since their size is not known in advance.
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=MAX_ASKING), cookie_jar=aiohttp.DummyCookieJar(),
        headers=headers, auto_decompress=False,
    ) as session:  # fmt: skip
        yield Gate(Introspection(session, params), list(params["claimHeaders"]))
