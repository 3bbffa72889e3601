"""Asks for an answer once more, by a request to the gateway itself.

The request passes the whole chain of its API again, so authentication, budgets, counts and routing treat it as any
other. docs/decisions/0104-a-model-is-asked-again-through-the-gateway.md has why.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
from sdk.llm import LlmRequest, Shape
from sdk.policy import RequestContext
from yarl import URL

from .again import with_correction

Json = dict[str, Any]
MARK = "json-answer-retry"
"""The header of a second request, for which none follows. It stays for further attachments, and goes upstream."""
SHARE_OF_TIME = 0.9
"""The part of the time of an execution that the second answer may take."""
CONNECTIONS = 256
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Question:
    """What a second request needs of the first, as this policy has seen it."""

    shape: Shape
    target: str
    """The path in the client's spelling, with the query."""
    authority: str
    headers: Mapping[str, str]
    body: str


def question_of(ctx: RequestContext, request: LlmRequest, settings: Json) -> Question | None:
    """None: the request will not be sent again."""
    if (
        MARK in ctx.headers
        or request.streams
        or request.is_ambiguous
        or len(request.body) > settings["maxRequestBytes"]
    ):
        return None
    headers = {name: ", ".join(ctx.headers.get_all(name)) for name in settings["headers"] if name in ctx.headers}
    target = ctx.raw_path + (f"?{ctx.query}" if ctx.query else "")
    try:
        return Question(request.shape, target, ctx.authority, headers, request.body.decode())
    except UnicodeDecodeError:  # JSON in UTF-16, which an answer's metadata cannot carry
        return None


class Retry:
    """Sends second requests. It runs in one event loop."""

    def __init__(self, session: aiohttp.ClientSession, settings: Json, most_bytes: int) -> None:
        self._session, self._url, self._most = session, settings["url"].rstrip("/"), most_bytes
        self._seconds = settings["timeoutMilliseconds"] / 1000

    async def ask(
        self, question: Question, wrong: str, explanation: str, *, seconds: float, trace: str
    ) -> bytes | None:
        """The second answer. None: there is none, whose reason is in the log."""
        body = with_correction(question.body.encode(), question.shape, wrong, explanation)
        if body is None:
            return None
        headers = {**question.headers, "host": question.authority, "content-type": "application/json", MARK: "1"}
        if trace:
            headers["traceparent"] = trace
        limit = aiohttp.ClientTimeout(total=max(min(self._seconds, seconds * SHARE_OF_TIME), 0.001))  # 0 is no limit
        try:
            return await self._send(URL(self._url + question.target, encoded=True), body, headers, limit)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            log.warning("the model was not asked again: %s", error if str(error) else type(error).__name__)
            return None

    async def _send(self, url: URL, body: bytes, headers: Mapping[str, str], limit: aiohttp.ClientTimeout) -> bytes:
        sent = self._session.post(url, data=body, headers=headers, timeout=limit, allow_redirects=False)
        async with sent as answer:
            if answer.status != 200:
                raise ValueError(f"expected the status 200, got {answer.status}")
            content = bytearray()
            async for chunk in answer.content.iter_any():
                content += chunk
                if len(content) > self._most:
                    answer.close()
                    raise ValueError(f"expected at most {self._most} bytes, got more")
            return bytes(content)


@asynccontextmanager
async def open_retry(settings: Json | None, most_bytes: int) -> AsyncIterator[Retry | None]:
    if settings is None:
        yield None
        return
    headers = {"accept": "application/json", "accept-encoding": "identity"}
    connector, no_cookies = aiohttp.TCPConnector(limit=CONNECTIONS), aiohttp.DummyCookieJar()
    async with aiohttp.ClientSession(
        connector=connector, cookie_jar=no_cookies, headers=headers, auto_decompress=False
    ) as session:
        yield Retry(session, settings, most_bytes)
