"""Asks a moderation service about the texts of a prompt, in the shape of OpenAI's POST /v1/moderations."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import aiohttp
from sdk.metrics import Counter

Json: TypeAlias = dict[str, Any]
CONNECTIONS = 256
MAX_ANSWER_BYTES = 256 * 1024
UNANSWERED = Counter("prompt_guard_moderation_unanswered_total", "Prompts without a verdict of the service.", ["api"])


class UnansweredError(Exception):
    """The service has given no valid verdict. The text is for the log, and has no part of a prompt."""


class Moderation:
    """Asks one service. It runs in one event loop."""

    def __init__(self, session: aiohttp.ClientSession, params: Json) -> None:
        self._session, self._url, self._model = session, params["url"], params["model"]
        self._seconds = params["timeoutMilliseconds"] / 1000
        self._thresholds: Mapping[str, float] = params["thresholds"]

    async def categories(self, texts: Sequence[str], seconds: float) -> list[str]:
        """The categories for which the service, or a threshold, refuses one of the texts. UnansweredError."""
        question = json.dumps({"model": self._model, "input": list(texts)})
        limit = aiohttp.ClientTimeout(total=max(min(self._seconds, seconds), 0.001))  # for aiohttp 0 is no limit
        try:
            answer = await self._ask(question.encode(), limit)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise UnansweredError(type(error).__name__) from None
        return categories_of(answer, self._thresholds, len(texts))

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


def categories_of(answer: bytes, thresholds: Mapping[str, float], count: int) -> list[str]:
    """The categories that refuse, each once. A category with a threshold is decided by its score, others by the
    service. UnansweredError: the answer has not a result for each text."""
    try:
        results = json.loads(answer)["results"]
        if len(results) != count:
            raise UnansweredError(f"expected {count} results, got {len(results)}")
        found = [name for result in results for name in _refused(result, thresholds)]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UnansweredError(f"expected results of a moderation, got another format: {type(error).__name__}") from None
    return list(dict.fromkeys(found))


def _refused(result: Json, thresholds: Mapping[str, float]) -> list[str]:
    flags, scores = result["categories"], result.get("category_scores", {})
    refused = [name for name, is_flagged in flags.items() if is_flagged is True and name not in thresholds]
    refused += [name for name, threshold in thresholds.items() if float(scores[name]) >= threshold]
    is_flagged = result["flagged"]
    if not isinstance(is_flagged, bool):
        raise TypeError
    return refused or (["flagged"] if is_flagged and not any(flags.values()) else [])


@asynccontextmanager
async def open_moderation(params: Json | None) -> AsyncIterator[Moderation | None]:
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
        yield Moderation(session, params)


def token_of(token: str) -> str:
    """ValueError: the token is not valid in a header, which the schema cannot check for a named secret."""
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ValueError("moderation.token: expected printable ASCII characters without spaces, got others")
    return token
