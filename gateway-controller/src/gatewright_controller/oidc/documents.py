"""Asks the provider for JSON documents: within bounds of time and size, without following redirects."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping

import httpx
from gatewright.bearer import json_object
from gatewright_documents.values import JsonObject

SECONDS = 5.0
"""For one document."""
MOST_BYTES = 1 << 20


class DocumentError(Exception):
    """The provider has not answered with a document; the message says where and why. status: of its answer, 0 for
    none."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class Documents:
    """Over HTTP, with the certificate authorities of SSL_CERT_FILE if it is set, and by the proxy of HTTPS_PROXY."""

    def __init__(self, client: httpx.AsyncClient, seconds: float = SECONDS) -> None:
        self._client, self._seconds = client, seconds

    async def get(self, url: str) -> JsonObject:
        """Raises `DocumentError`."""
        return await self._ask("GET", url)

    async def post(self, url: str, form: Mapping[str, str]) -> JsonObject:
        """Raises `DocumentError`."""
        return await self._ask("POST", url, form)

    async def _ask(self, method: str, url: str, form: Mapping[str, str] | None = None) -> JsonObject:
        try:
            async with asyncio.timeout(self._seconds), self._client.stream(method, url, data=form) as answer:
                if (status := answer.status_code) != 200:
                    reason = f"expected the status 200, got {status}; redirects are not followed"
                    raise DocumentError(f"{url}: {reason}", status)
                return json_object(await _bounded(answer))
        except TimeoutError:
            raise DocumentError(f"{url}: expected an answer within {self._seconds:g} s, got none") from None
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, OSError) as error:
            raise DocumentError(f"{url}: {str(error) or type(error).__name__}") from None


@contextlib.asynccontextmanager
async def open_documents(seconds: float = SECONDS) -> AsyncIterator[Documents]:
    """Compressed documents are not asked for, since their size is not known in advance."""
    headers = {"accept": "application/json", "accept-encoding": "identity"}
    async with httpx.AsyncClient(headers=headers, timeout=seconds, follow_redirects=False) as client:
        yield Documents(client, seconds)


async def _bounded(answer: httpx.Response) -> bytes:
    body = bytearray()
    async for piece in answer.aiter_raw():
        body += piece
        if len(body) > MOST_BYTES:
            raise ValueError(f"expected a document of at most {MOST_BYTES} bytes")
    return bytes(body)
