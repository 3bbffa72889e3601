"""Who comes with a token, at the management API and at the nodes' listener."""

from __future__ import annotations

import asyncio

from gatewright_controller import access
from gatewright_controller.access import Caller, Token
from gatewright_controller.store import Store
from gatewright_controller.times import timestamp, utc_now


class KnownTokens:
    """Looks each token up when it comes: a deleted one opens nothing from then on, whichever controller deleted it."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def caller(self, text: str) -> Caller | None:
        """None where it is unknown or has expired. Raises `StorageError`."""
        if not text.startswith(access.PREFIX):
            return None
        token = await asyncio.to_thread(self._store.token_of, access.digest_of(text))
        return token.caller if token and not has_expired(token) else None


def has_expired(token: Token) -> bool:
    """Whether it opens nothing any more."""
    return bool(token.expires_at) and token.expires_at <= timestamp(utc_now())
