"""People as the management API asks about them, over all that the other modules know."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from functools import partial

from gatewright_documents.values import JsonObject

from gatewright_controller.access import Caller
from gatewright_controller.oidc.claims import caller_of
from gatewright_controller.oidc.documents import SECONDS, open_documents
from gatewright_controller.oidc.jwts import is_jwt, read_signer, refused, verify
from gatewright_controller.oidc.kept import INTERVALS, Intervals, KeptPublished
from gatewright_controller.oidc.published import fetch_published
from gatewright_controller.oidc.settings import Oidc


class ProviderPeople:
    """Those of one provider."""

    def __init__(self, oidc: Oidc, kept: KeptPublished) -> None:
        self._oidc, self._kept = oidc, kept

    async def caller_of(self, text: str) -> Caller | None:
        """As `contract.People`."""
        return caller_of(await self._claims(text), self._oidc) if is_jwt(text) else None

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
            yield ProviderPeople(oidc, kept)
        finally:
            keeping.cancel()
            await asyncio.wait([keeping])
