"""Lets a request pass only with a bearer token (JWT, RFC 7519) that the issuer has signed for this audience.

The issuer's keys are fetched by `prepare`, so an API is not served before there are any, and every `refreshSeconds`
from then on. While the issuer is away, those that are known serve on. A token that names another key has them fetched
at once, though not more often than every RETRY_SECONDS: so a key that has just been changed is known when it is used.

Policies behind this one find who asks in `ctx.identity`, and the token's claims in `ctx.metadata["jwt"]` too. It is
here to be read and copied: `jwt-auth` of `policies/` is what ships.
"""

import asyncio
import logging
import re
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import jwt
from sdk.policy import Identity, ImmediateResponse, RequestAction, RequestContext

RETRY_SECONDS = 5.0
FETCH_SECONDS = 5.0
ASYMMETRIC = {"RSA", "EC", "OKP"}
NOT_QUOTABLE = re.compile(r"[^ !#-\[\]-~]")  # RFC 6750, 3: what error_description cannot have in it

log = logging.getLogger(__name__)


class Keys:
    """The issuer's keys by their ids. All of it runs in one event loop."""

    def __init__(self, session: aiohttp.ClientSession, uri: str) -> None:
        self._session, self._uri = session, uri
        self._keys: dict[str | None, jwt.PyJWK] = {}
        self._renewal: asyncio.Task[None] | None = None
        self._renewed = 0.0

    async def fetch(self) -> None:
        """Raises aiohttp.ClientError, TimeoutError, ValueError or jwt.PyJWTError, and leaves the keys as they are."""
        async with self._session.get(self._uri) as answer:
            answer.raise_for_status()
            found = jwt.PyJWKSet.from_dict(await answer.json(content_type=None)).keys
        self._keys = {
            key.key_id: key for key in found if key.key_type in ASYMMETRIC and key.public_key_use in {None, "sig"}
        }

    async def get(self, key_id: str | None) -> jwt.PyJWK | None:
        if key_id not in self._keys:
            await asyncio.shield(self._renew())  # others wait for it too, so it outlives a client that goes away
        return self._keys.get(key_id)

    async def refresh(self, seconds: float) -> None:
        while True:
            await asyncio.sleep(seconds)
            await self._renew()

    def _renew(self) -> asyncio.Task[None]:
        """The fetch that goes on, or that has just been, or a new one."""
        if self._renewal is None or time.monotonic() - self._renewed >= RETRY_SECONDS:
            self._renewed = time.monotonic()
            self._renewal = asyncio.create_task(self._try_to_fetch())
        return self._renewal

    async def _try_to_fetch(self) -> None:
        try:
            await self.fetch()
        except (aiohttp.ClientError, TimeoutError, ValueError, jwt.PyJWTError) as error:
            log.warning("the keys stay as they are: %s: %s: %s", self._uri, type(error).__name__, error)


async def prepare(params: dict[str, Any]) -> AsyncIterator[Keys]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=FETCH_SECONDS)) as session:
        keys = Keys(session, params["jwksUri"])
        await keys.fetch()
        refreshing = asyncio.create_task(keys.refresh(params["refreshSeconds"]))
        yield keys
        refreshing.cancel()


async def on_request(ctx: RequestContext, params: dict[str, Any]) -> RequestAction:
    lines = ctx.headers.get_all("authorization")
    scheme, _, token = lines[0].partition(" ") if len(lines) == 1 else ("", "", "")  # upstream would see the others too
    if scheme.lower() != "bearer" or not token.isascii():
        return ImmediateResponse(401, {"www-authenticate": "Bearer"})
    try:
        key = await ctx.prepared.get(jwt.get_unverified_header(token).get("kid"))
        if key is None:
            return refused("the issuer has no such key")
        claims = jwt.decode(
            token,
            key,
            algorithms=params["algorithms"],
            audience=params["audience"],
            issuer=params["issuer"],
            leeway=params["leewaySeconds"],
            options={"require": ["exp", "iss", "aud"]},
        )
    except jwt.PyJWTError as error:
        return refused(str(error))
    ctx.metadata["jwt"] = claims
    ctx.identity = Identity(str(claims.get("sub", "")), claims["iss"], claims=claims, method="jwt")
    return None


def refused(why: str) -> ImmediateResponse:
    description = NOT_QUOTABLE.sub("?", why)
    return ImmediateResponse(
        401, {"www-authenticate": f'Bearer error="invalid_token", error_description="{description}"'}
    )
