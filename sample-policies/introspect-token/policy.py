"""Lets a request pass only with a bearer token that the authorization server says is active (RFC 7662).

Where that server is and how we are known to it is the operator's to set, in the system parameters. One client with its
pool of connections serves the instance as long as it lives. An answer is believed for `cacheSeconds`, by each process
on its own, and never beyond the token's end. While the server is away the answer is 503.

Policies behind this one find what the server says of the token in `ctx.metadata["token"]`. It is here to be read and
copied: `oauth2-introspection` of `policies/` is what ships.
"""

import hashlib
import logging
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote_plus

import aiohttp
from sdk.policy import ImmediateResponse, PolicyMetadata, RequestAction, RequestContext

MAX_CACHED = 10_000

log = logging.getLogger(__name__)


class Introspection:
    """Asks the server, and remembers its last answers. All of it runs in one event loop."""

    def __init__(self, session: aiohttp.ClientSession, url: str, cache_seconds: float) -> None:
        self._session, self._url, self._cache_seconds = session, url, cache_seconds
        self._cached: OrderedDict[bytes, tuple[float, dict[str, Any]]] = OrderedDict()

    async def ask(self, token: str, seconds: float) -> dict[str, Any]:
        """{"active": …} and what else the server says. Raises aiohttp.ClientError, TimeoutError or ValueError."""
        key = hashlib.sha256(token.encode()).digest()  # a memory dump has no tokens in it
        until, about = self._cached.get(key, (0.0, {}))
        if time.time() < until:
            return about
        form, limit = {"token": token, "token_type_hint": "access_token"}, aiohttp.ClientTimeout(total=seconds)
        async with self._session.post(self._url, data=form, timeout=limit) as answer:
            answer.raise_for_status()
            about = await answer.json(content_type=None)
        if not isinstance(about, dict) or not isinstance(about.get("active"), bool):
            raise ValueError(f"{self._url}: expected an object with active: true or false")
        self._keep(key, about)
        return about

    def _keep(self, key: bytes, about: dict[str, Any]) -> None:
        end, until = about.get("exp"), time.time() + self._cache_seconds
        self._cached[key] = (min(until, end) if isinstance(end, int | float) else until, about)
        self._cached.move_to_end(key)
        if len(self._cached) > MAX_CACHED:
            self._cached.popitem(last=False)


async def prepare(params: dict[str, Any], metadata: PolicyMetadata) -> AsyncIterator[Introspection]:
    operator = metadata.system_params
    known_as = aiohttp.encode_basic_auth(quote_plus(operator["clientId"]), quote_plus(operator["clientSecret"]))
    async with aiohttp.ClientSession(headers={"authorization": known_as, "accept": "application/json"}) as session:
        yield Introspection(session, operator["url"], params["cacheSeconds"])


async def on_request(ctx: RequestContext, params: dict[str, Any]) -> RequestAction:
    lines = ctx.headers.get_all("authorization")
    scheme, _, token = lines[0].partition(" ") if len(lines) == 1 else ("", "", "")  # upstream would see the others too
    if scheme.lower() != "bearer" or not token.isascii():
        return refused(401)
    try:
        about = await ctx.prepared.ask(token, ctx.time_remaining() * 0.9)
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        log.warning("the authorization server gave no answer: %s: %s", type(error).__name__, error)
        return ImmediateResponse(503, {"retry-after": "5"})
    if not about["active"]:
        return refused(401, error="invalid_token")
    if missing := set(params["scopes"]) - set(str(about.get("scope", "")).split()):
        return refused(403, error="insufficient_scope", scope=" ".join(sorted(missing)))
    ctx.metadata["token"] = about
    return None


def refused(status: int, **why: str) -> ImmediateResponse:
    """RFC 6750, 3."""
    reasons = ", ".join(f'{name}="{value}"' for name, value in why.items())
    return ImmediateResponse(status, {"www-authenticate": f"Bearer {reasons}".rstrip()})
