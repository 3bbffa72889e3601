"""Lets a request pass only with a bearer token that the authorization server says is active (RFC 7662).

An instance has one client, with a pool of connections as long as it lives. An answer is believed for `cacheSeconds`, by
each process on its own, and never beyond the token's end; requests with one token that come while it is asked for wait
for that answer. Where the server does not answer, or says what makes no sense, the answer is 503: nobody can say
whether the token is good. Policies behind this one find who asks in `ctx.identity`.

Its limits: each token that is not known yet is a request to the server, of which there are at most MAX_ASKING at a time
in a process, so put what bounds a client's rate before it. The server's answer is believed as TLS brings it: signed
answers (RFC 9701) are not asked for.
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
from sdk.action import ActionError, check
from sdk.bearer import RefusedError
from sdk.metrics import Counter
from sdk.policy import Identity, RequestAction, RequestContext, UpstreamRequestModifications

from sdk import bearer, clock

MAX_CACHED = 10_000  # answers of active tokens, and of others
MAX_ASKING = 64  # requests to the server at a time
MAX_ANSWER = 1 << 16  # bytes
LOG_SECONDS = 10.0  # from one line about a server that gives no answer to the next

REFUSED = Counter("tokens_refused_total", "Requests whose token does not let them pass.", labels=["reason"])
ASKED = Counter("introspections_total", "Requests to the authorization server.", labels=["outcome"])
log = logging.getLogger(__name__)


# ------------------------------------------------------------------ what the server says


def read_answer(raw: bytes) -> dict[str, Any]:
    """{"active": …} and what else the server says (RFC 7662, 2.2). ValueError: it makes no sense."""
    about = bearer.json_object(raw)
    if not isinstance(about.get("active"), bool):
        raise ValueError("expected a JSON object with active, true or false")
    end = about.get("exp", 0)
    if isinstance(end, bool) or not isinstance(end, int | float) or not isinstance(about.get("sub", ""), str):
        raise ValueError("expected a number as exp and a text as sub")
    return about


class Answers:
    """The last ones, each as long as it may be believed."""

    def __init__(self) -> None:
        self._kept: OrderedDict[bytes, tuple[float, dict[str, Any]]] = OrderedDict()

    def find(self, digest: bytes) -> dict[str, Any] | None:
        until, about = self._kept.get(digest, (-math.inf, None))
        if clock.monotonic() >= until:
            return None
        self._kept.move_to_end(digest)
        return about

    def keep(self, digest: bytes, about: dict[str, Any], seconds: float) -> None:
        self._kept[digest] = (clock.monotonic() + seconds, about)
        self._kept.move_to_end(digest)
        if len(self._kept) > MAX_CACHED:
            self._kept.popitem(last=False)


class Introspection:
    """Asks the server, and remembers its last answers. All of it runs in one event loop."""

    def __init__(self, session: aiohttp.ClientSession, params: Mapping[str, Any]) -> None:
        self._session, self._params = session, params
        self._active, self._inactive = (
            Answers(),
            Answers(),
        )  # invented tokens displace no good one
        self._asking: dict[bytes, asyncio.Task[dict[str, Any] | None]] = {}
        self._logged_at = -math.inf

    async def about(self, token: str, seconds: float) -> dict[str, Any]:
        """What the server says of the token. RefusedError: nobody knows."""
        digest = hashlib.sha256(token.encode()).digest()  # no token stays in memory
        if known := self._active.find(digest) or self._inactive.find(digest):
            return known
        asking = self._asking.get(digest)
        if asking is None:
            asking = self._asking[digest] = asyncio.create_task(self._ask(token, digest))
        try:
            async with asyncio.timeout(seconds):
                about = await asyncio.shield(asking)  # others wait for it too, so it outlives a client that goes away
        except TimeoutError:
            about = None
        if about is None:
            raise RefusedError("unavailable", "the authorization server gives no answer", "unavailable")
        return about

    async def _ask(self, token: str, digest: bytes) -> dict[str, Any] | None:
        """Never raises, but where it is cancelled."""
        try:
            async with asyncio.timeout(self._params["timeoutMilliseconds"] / 1000):
                about = await self._post(token)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            ASKED.inc(outcome="failed")
            self._log(error)
            return None
        finally:
            del self._asking[digest]
        ASKED.inc(outcome="active" if about["active"] else "inactive")
        self._keep(digest, about)
        return about

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
                if len(body) > MAX_ANSWER:
                    raise ValueError(f"expected at most {MAX_ANSWER} bytes")
            return read_answer(bytes(body))

    def _keep(self, digest: bytes, about: dict[str, Any]) -> None:
        seconds = self._params["cacheSeconds" if about["active"] else "inactiveCacheSeconds"]
        if about["active"] and "exp" in about:
            seconds = min(seconds, about["exp"] - clock.now())
        if seconds > 0:
            (self._active if about["active"] else self._inactive).keep(digest, about, seconds)

    def _log(self, error: Exception) -> None:
        """It may fail for each request, and one line says it as well."""
        if clock.monotonic() - self._logged_at >= LOG_SECONDS:
            self._logged_at = clock.monotonic()
            log.warning("%s gives no answer: %s: %s", self._params["url"], type(error).__name__, error)


# ------------------------------------------------------------------ a request


def texts(value: object) -> list[str]:
    """The texts of a claim that is one, or a list of them."""
    listed = value if isinstance(value, list) else [value]
    return [each for each in listed if isinstance(each, str)]


def identity_of(about: Mapping[str, Any], params: Mapping[str, Any]) -> Identity:
    """Who has the token. RefusedError: it is not active, or not good enough."""
    if not about["active"]:
        raise RefusedError("inactive", "the token is not active")
    if params["audiences"] and set(params["audiences"]).isdisjoint(texts(about.get("aud"))):
        raise RefusedError("audience", "the token is for another audience")
    scopes = tuple(dict.fromkeys(scope for text in texts(about.get("scope")) for scope in text.split(" ") if scope))
    fits = all if params["scopesMatch"] == "all" else any
    if params["scopes"] and not fits(each in scopes for each in params["scopes"]):
        text = "the token has not the scopes that are asked for"
        raise RefusedError("scopes", text, "insufficient_scope", " ".join(params["scopes"]))
    issuer = about.get("iss")
    issuer = issuer if isinstance(issuer, str) else params["url"]
    return Identity(about.get("sub", ""), issuer, scopes, about, "introspection")


def claimed(about: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, str]:
    """Headers that tell of claims. RefusedError: one would have a control character in it."""
    values = {name: about[claim] for name, claim in names.items() if claim in about}
    headers = {name: value if isinstance(value, str) else json.dumps(value) for name, value in values.items()}
    try:
        check("on_request", UpstreamRequestModifications(set_headers=headers))
    except ActionError:
        raise RefusedError("claims", "the token has a claim that no header can hold") from None
    return headers


@dataclass(frozen=True, slots=True)
class Gate:
    """What an attachment asks of a request."""

    server: Introspection
    remove: list[str]  # headers that no client may send on

    async def pass_on(self, ctx: RequestContext, params: Mapping[str, Any]) -> UpstreamRequestModifications:
        """The request as it goes on. RefusedError: it does not."""
        token = bearer.token(ctx.headers, params["maxTokenBytes"])
        if token is None:
            if params["required"]:
                raise bearer.missing()
            return UpstreamRequestModifications(remove_headers=self.remove)
        about = await self.server.about(token, ctx.time_remaining() * 0.9)
        identity, headers = identity_of(about, params), claimed(about, params["claimHeaders"])
        ctx.identity = identity
        remove = self.remove if params["forwardToken"] else [*self.remove, "authorization"]
        return UpstreamRequestModifications(remove_headers=remove, set_headers=headers)


async def on_request(ctx: RequestContext, params: dict[str, Any]) -> RequestAction:
    try:
        return await ctx.prepared.pass_on(ctx, params)  # type: ignore[no-any-return]
    except RefusedError as refused:
        REFUSED.inc(reason=refused.reason)
        return refused.answer()


async def prepare(params: dict[str, Any]) -> AsyncIterator[Gate]:
    check("on_request", UpstreamRequestModifications(set_headers=dict.fromkeys(params["claimHeaders"], "")))
    headers = {"accept": "application/json", "accept-encoding": "identity"}
    if params["clientAuth"] == "basic":  # RFC 6749, 2.3.1
        known_as = quote_plus(params["clientId"]), quote_plus(params["clientSecret"].reveal())
        headers["authorization"] = aiohttp.encode_basic_auth(*known_as)
    # what is compressed is not read: nobody knows how much of it there will be
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=MAX_ASKING), cookie_jar=aiohttp.DummyCookieJar(),
        headers=headers, auto_decompress=False,
    ) as session:  # fmt: skip
        yield Gate(Introspection(session, params), list(params["claimHeaders"]))
