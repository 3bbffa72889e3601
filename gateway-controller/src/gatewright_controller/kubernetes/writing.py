"""What a leader writes to the API server: nothing once its term is over."""

from __future__ import annotations

import time

from gatewright_documents.values import JsonObject

from gatewright_controller.kubernetes.client import ApiClient
from gatewright_controller.kubernetes.lease import Term


class NotLeadingError(Exception):
    """The term is over: another controller may lead."""


class Writer:
    """Its methods are those of the client, and raise `NotLeadingError` too."""

    def __init__(self, client: ApiClient, term: Term) -> None:
        self._client, self._term = client, term

    def check(self) -> None:
        """Raises `NotLeadingError`."""
        if not self._term.is_valid(time.monotonic()):
            raise NotLeadingError

    async def get(self, path: str) -> JsonObject:
        """The object as it is now."""
        return await self._client.get(path)

    async def merge(self, path: str, patch: JsonObject) -> JsonObject:
        """A merge patch."""
        self.check()
        return await self._client.merge(path, patch)

    async def apply(self, path: str, body: JsonObject) -> JsonObject:
        """Server-side apply."""
        self.check()
        return await self._client.apply(path, body)

    async def delete(self, path: str, uid: str) -> None:
        """Of the object with this uid."""
        self.check()
        await self._client.delete(path, uid)
