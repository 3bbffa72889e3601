"""People as the management API asks about them, over all that the other modules know."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from functools import partial

from gatewright_documents.values import JsonObject

from gatewright_controller.access import Caller
from gatewright_controller.oidc.claims import caller_of
from gatewright_controller.oidc.contract import LoggedIn, LoginPlace, NotSignedInError, ProviderAnswer
from gatewright_controller.oidc.documents import SECONDS, Documents, open_documents
from gatewright_controller.oidc.jwts import is_jwt, read_signer, refused, verify
from gatewright_controller.oidc.kept import INTERVALS, Intervals, KeptPublished
from gatewright_controller.oidc.login import check_login, exchange
from gatewright_controller.oidc.published import fetch_published
from gatewright_controller.oidc.settings import Oidc


class ProviderPeople:
    """Those of one provider. Its methods are those of `contract.People`."""

    def __init__(self, oidc: Oidc, kept: KeptPublished, documents: Documents) -> None:
        self._oidc, self._kept, self._documents = oidc, kept, documents

    async def caller_of(self, text: str) -> Caller | None:
        """By a JWT."""
        return caller_of(await self._claims(text), self._oidc) if is_jwt(text) else None

    async def login_place(self) -> LoginPlace | None:
        """The provider's own."""
        endpoints = (await self._kept.current()).login if self._oidc.client_id else None
        if endpoints is None or self._oidc.client_id is None:
            return None
        scope = " ".join(dict.fromkeys(["openid", *self._oidc.scopes]))
        return LoginPlace(endpoints.authorization, self._oidc.client_id, scope)

    async def log_in(self, answer: ProviderAnswer) -> LoggedIn:
        """By the code flow; the JWT is the ID token."""
        endpoints = (await self._kept.current()).login if self._oidc.client_id else None
        if endpoints is None or self._oidc.client_id is None:
            raise NotSignedInError("there is no client for logins here")
        token = await exchange(self._documents, endpoints, self._oidc.client_id, answer)
        claims = await self._claims(token)
        check_login(claims, self._oidc.client_id, answer.nonce)
        return LoggedIn(caller_of(claims, self._oidc), token)

    async def _claims(self, text: str) -> JsonObject:
        signer = read_signer(text, self._oidc)
        keys = (await self._kept.current()).keys
        if not keys.knows(signer.kid):
            keys = (await self._kept.newer()).keys
        if (key := keys.find(signer.kid, signer.algorithm)) is None:
            raise refused("it is signed by a key that the provider does not publish for it")
        return verify(text, signer, key, self._oidc)


@contextlib.asynccontextmanager
async def open_people(
    oidc: Oidc, intervals: Intervals = INTERVALS, seconds: float = SECONDS
) -> AsyncIterator[ProviderPeople]:
    """Asks the provider meanwhile, and waits for none of its answers. seconds: for one document."""
    async with open_documents(seconds) as documents:
        kept = KeptPublished(partial(fetch_published, documents, oidc), oidc.issuer, intervals)
        keeping = asyncio.create_task(kept.run(), name="openid provider")
        try:
            yield ProviderPeople(oidc, kept, documents)
        finally:
            keeping.cancel()
            await asyncio.wait([keeping])
