"""Asks servers on the policy's own account: for sessions and lists, of which the client gets one for all servers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import aiohttp
from sdk import mcp
from sdk.metrics import Counter

from .servers import Server
from .sessions import Session

Json: TypeAlias = dict[str, Any]
CONNECTIONS = 256
MAX_PAGES = 50
UNANSWERED = Counter("mcp_servers_unanswered_total", "Requests that a server did not answer.", ["server", "reason"])
ACCEPT = {"accept": "application/json, text/event-stream", "content-type": "application/json"}


class UnansweredError(Exception):
    """The server has given no valid answer. The reason is for the client, and says nothing of the network."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class LostSessionError(Exception):
    """The server no longer has the session: the client begins a new one."""


@dataclass(frozen=True, slots=True)
class Answered:
    """What a server has answered: a message with a result or an error, and the id of a new session."""

    message: Json
    session_id: str


class Asker:
    """Sends messages to servers. It runs in one event loop.

    headers: of each request, for all servers, such as the client's own. seconds: for each answer.
    """

    def __init__(self, http: aiohttp.ClientSession, headers: Mapping[str, str], seconds: float, limit: int) -> None:
        self._http, self._headers, self._seconds, self._limit = http, headers, seconds, limit

    async def ask(self, server: Server, document: Json, session: Session | None = None, **more: str) -> Answered:
        """The answer to a request. UnansweredError, LostSessionError."""
        headers = {**ACCEPT, **self._headers, **headers_of(session), **more, **server.headers}
        try:
            async with self._post(server, document, headers) as answer:
                if answer.status == 404 and session is not None and session.id:
                    raise LostSessionError
                return Answered(await self._read(answer, document["id"]), answer.headers.get("mcp-session-id", ""))
        except (aiohttp.ClientError, TimeoutError) as error:
            raise UnansweredError("timeout" if isinstance(error, TimeoutError) else "connection") from None

    async def tell(self, server: Server, document: Json, session: Session) -> None:
        """Sends a notification. UnansweredError."""
        headers = {**ACCEPT, **self._headers, **headers_of(session), **server.headers}
        try:
            async with self._post(server, document, headers) as answer:
                if answer.status >= 300:
                    raise UnansweredError(f"status {answer.status}")
        except (aiohttp.ClientError, TimeoutError) as error:
            raise UnansweredError("timeout" if isinstance(error, TimeoutError) else "connection") from None

    async def end(self, server: Server, session: Session) -> None:
        """Ends a session. A server that refuses to end it, or is away, ends it by itself one day."""
        headers = {**self._headers, **headers_of(session), **server.headers}
        limit = aiohttp.ClientTimeout(total=self._seconds)
        try:
            async with self._http.delete(server.url, headers=headers, timeout=limit, allow_redirects=False):
                pass
        except (aiohttp.ClientError, TimeoutError):
            pass

    def _post(self, server: Server, document: Json, headers: Mapping[str, str]) -> Any:
        limit = aiohttp.ClientTimeout(total=self._seconds)
        data = json.dumps(document).encode()
        return self._http.post(server.url, data=data, headers=headers, timeout=limit, allow_redirects=False)

    async def _read(self, answer: aiohttp.ClientResponse, number: Any) -> Json:
        """The message with this id, whole or in a stream, which need not end with it."""
        reader = mcp.AnswerReader(answer.headers.get("content-type", ""), self._limit)
        size = 0
        async for piece in answer.content.iter_any():
            size += len(piece)
            if size > self._limit:
                raise UnansweredError("answer too long")
            for document in reader.feed(piece):
                if is_answer(document, number):
                    return document  # type: ignore[no-any-return]
        for document in reader.end():
            if is_answer(document, number):
                return document  # type: ignore[no-any-return]
        raise UnansweredError(f"status {answer.status}" if answer.status >= 300 else "no answer")


def is_answer(document: Any, number: Any) -> bool:
    if not isinstance(document, dict) or "method" in document:
        return False
    has_error = isinstance(document.get("error"), dict)
    return has_error or (document.get("id") == number and isinstance(document.get("result"), dict))


def headers_of(session: Session | None) -> dict[str, str]:
    """The headers by which a server knows its session."""
    if session is None:
        return {}
    return {"mcp-protocol-version": session.revision} | ({"mcp-session-id": session.id} if session.id else {})


@dataclass(frozen=True, slots=True)
class Gathered:
    """What servers have answered, by name, and why others have not."""

    found: Mapping[str, Any]
    missing: Mapping[str, str]

    def meta(self) -> Json:
        """The member `_meta` of a result that not all servers have given a part of."""
        named = [{"server": name, "reason": reason} for name, reason in self.missing.items()]
        return {"_meta": {"gatewright.dev/missing": named}} if named else {}


async def gather(servers: Sequence[Server], asked: Mapping[str, Any]) -> Gathered:
    """Awaits what is asked of servers, by name; of a server for which nothing is asked there is no session.
    LostSessionError: one of them has lost its session."""
    names = [server.name for server in servers if server.name in asked]
    answers = await asyncio.gather(*(asked[name] for name in names), return_exceptions=True)
    found: dict[str, Any] = {}
    missing = {server.name: "no session" for server in servers if server.name not in asked}
    for name, answer in zip(names, answers, strict=True):
        if isinstance(answer, UnansweredError):
            missing[name] = answer.reason
            UNANSWERED.inc(server=name, reason=answer.reason.split()[0])
        elif isinstance(answer, BaseException):
            raise answer
        else:
            found[name] = answer
    return Gathered(found, missing)


async def list_items(
    asker: Asker, server: Server, message: mcp.Message, session: Session | None, headers: Mapping[str, str]
) -> list[Json]:
    """All items of a server's list, with its prefix before their names. UnansweredError, LostSessionError."""
    items: list[Json] = []
    cursor: Any = None
    for _ in range(MAX_PAGES):
        params = {**message.params, **({} if cursor is None else {"cursor": cursor})}
        document = {"jsonrpc": "2.0", "id": message.id, "method": message.method, "params": params}
        answered = (await asker.ask(server, document, session, **headers)).message
        if "error" in answered:
            if answered["error"].get("code") == mcp.METHOD_NOT_FOUND:
                return items  # it has none of this kind
            raise UnansweredError("error")
        page = answered["result"].get(message.lists)
        items += [with_prefix(item, server) for item in page if is_named(item)] if isinstance(page, list) else []
        cursor = answered["result"].get("nextCursor")
        if not isinstance(cursor, str):
            return items
    raise UnansweredError(f"pages beyond {MAX_PAGES}")


def is_named(item: Any) -> bool:
    return isinstance(item, dict) and isinstance(item.get("name"), str)


def with_prefix(item: Json, server: Server) -> Json:
    return {**item, "name": server.prefix + item["name"]}
