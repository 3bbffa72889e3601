"""Asks a service for the embedding of a text, in the shape of OpenAI's POST /v1/embeddings."""

from __future__ import annotations

import json
import math
from array import array
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import aiohttp

Json: TypeAlias = dict[str, Any]
CONNECTIONS = 256
MAX_ANSWER_BYTES = 512 * 1024
MAX_DIMENSIONS = 4096
SHARE_OF_TIME = 0.5
"""The part of the time of an execution that the service may take, since the store is asked afterwards."""


class UnansweredError(Exception):
    """The service has given no valid embedding. The text has no part of a prompt."""


class Embeddings:
    """Asks one service. It runs in one event loop."""

    def __init__(self, session: aiohttp.ClientSession, params: Json) -> None:
        self._session, self._url, self._model = session, params["url"], params["model"]
        self._seconds = params["timeoutMilliseconds"] / 1000

    async def vector(self, text: str, seconds: float) -> array[float]:
        """The embedding of the text, of length 1, in at most so many seconds. UnansweredError."""
        question = json.dumps({"model": self._model, "input": text, "encoding_format": "float"})
        limit = aiohttp.ClientTimeout(total=max(min(self._seconds, seconds), 0.001))  # for aiohttp 0 is no limit
        try:
            answer = await self._ask(question.encode(), limit)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise UnansweredError(type(error).__name__) from None
        return vector_of(answer)

    async def _ask(self, question: bytes, limit: aiohttp.ClientTimeout) -> bytes:
        async with self._session.post(self._url, data=question, timeout=limit, allow_redirects=False) as answer:
            if answer.status != 200:
                raise UnansweredError(f"expected the status 200, got {answer.status}")
            content = bytearray()
            async for chunk in answer.content.iter_any():
                content += chunk
                if len(content) > MAX_ANSWER_BYTES:
                    answer.close()
                    raise UnansweredError(f"expected at most {MAX_ANSWER_BYTES} bytes, got more")
            return bytes(content)


def vector_of(answer: bytes) -> array[float]:
    """The only embedding of an answer, divided by its length. UnansweredError: it has none that is valid."""
    try:
        (item,) = json.loads(answer)["data"]
        values = item["embedding"]
        if not isinstance(values, list) or not 1 <= len(values) <= MAX_DIMENSIONS:
            raise UnansweredError(f"expected an array of 1 to {MAX_DIMENSIONS} numbers")
        length = math.hypot(*values)
        if not math.isfinite(length) or length == 0:
            raise UnansweredError("expected finite numbers that are not all 0")
        return array("f", [value / length for value in values])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise UnansweredError(f"expected an embedding, got another format: {type(error).__name__}") from None


@asynccontextmanager
async def open_embeddings(params: Json | None) -> AsyncIterator[Embeddings | None]:
    if params is None:
        yield None
        return
    headers = {"content-type": "application/json", "accept": "application/json", "accept-encoding": "identity"}
    if "token" in params:
        headers["authorization"] = f"Bearer {token_of(params['token'].reveal())}"
    connector, no_cookies = aiohttp.TCPConnector(limit=CONNECTIONS), aiohttp.DummyCookieJar()
    async with aiohttp.ClientSession(
        connector=connector, cookie_jar=no_cookies, headers=headers, auto_decompress=False
    ) as session:
        yield Embeddings(session, params)


def token_of(token: str) -> str:
    """ValueError: the token is not valid in a header, which the schema cannot check for a named secret."""
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ValueError("semantic.token: expected printable ASCII characters without spaces, got others")
    return token
