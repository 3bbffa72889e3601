"""A client for recorded exchanges: a controller's /v1/exchanges and /v1/recordings."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from urllib.parse import quote

import msgspec

from gatewright_cli.clients.controller_refusals import DeployError, NoAnswerError, RefusedError, refusal_text
from gatewright_cli.local_http import Answer, LocalClient, LocalHttpError
from gatewright_cli.mistakes import ExitStatus

ANSWER_SECONDS = 20.0
SILENCE_SECONDS = 60.0
"""The controller sends an empty line every 15 s."""
JSON_LINES = {"accept": "application/x-ndjson"}


class NotRecordedError(DeployError):
    """No node has the exchange; the message names nodes that did not answer, if any."""


class WatchedNode(msgspec.Struct, frozen=True):
    """A node of a watch. reason: why it sends no exchanges; "" if it does."""

    id: str
    state: str
    reason: str = ""


class _Dropped(msgspec.Struct):
    exchanges: int


class _Ended(msgspec.Struct):
    reason: str


class _Line(msgspec.Struct):
    exchange: msgspec.Raw = msgspec.Raw()
    dropped: _Dropped | None = None
    nodes: list[WatchedNode] | None = None
    ended: _Ended | None = None


@dataclass(frozen=True)
class Event:
    """One of: an exchange, as the engine made it; how many were dropped; the nodes, when those that send have changed;
    why the stream ends: "limit", "seconds", "told" (all kept exchanges were sent) or "stopping".
    """

    exchange: bytes = b""
    dropped: int = 0
    nodes: tuple[WatchedNode, ...] | None = None
    ended: str = ""


class Recording(msgspec.Struct, frozen=True, rename="camel"):
    """A recording that has begun."""

    id: str
    ends_at: str
    nodes: list[WatchedNode] = []


class ExchangeSource:
    """The controller at a URL ("http://127.0.0.1:9090"). token: its token; "" for none. tls: for an https URL."""

    def __init__(self, controller: str, token: str, tls: ssl.SSLContext | None = None) -> None:
        self._url = controller
        self._client = LocalClient(None, controller, ANSWER_SECONDS, tls)
        if token:
            self._client.headers["authorization"] = f"Bearer {token}"

    async def watch(self, parameters: Sequence[tuple[str, str]]) -> AsyncIterator[Event]:
        """The events of /v1/exchanges with these query parameters, until its end.

        Raises RefusedError, and NoAnswerError if the stream breaks off.
        """
        answered = False
        try:
            async with self._client.stream("/v1/exchanges", parameters, JSON_LINES) as stream:
                answered = True
                _refuse(stream.answer)
                async for line in stream.lines(SILENCE_SECONDS):
                    if line:
                        yield _event(line)
        except LocalHttpError as error:
            how = "no longer answers" if answered else f"at {self._url} gave no answer"
            raise NoAnswerError(f"the controller {how} ({error})") from error

    async def get(self, request_id: str) -> bytes:
        """The newest exchange with this request id. Raises NotRecordedError, RefusedError, NoAnswerError."""
        answer = await self._ask("GET", f"/v1/exchanges/{quote(request_id, safe='')}")
        if answer.status_code == 404:
            raise NotRecordedError(refusal_text(answer).removeprefix("404 "), ExitStatus.NOT_FOUND)
        _refuse(answer)
        return answer.content

    async def record(self, exchange_filter: object, seconds: int) -> Recording:
        """Has nodes keep the exchanges that match the filter. Raises RefusedError, NoAnswerError."""
        content = msgspec.json.encode({"filter": exchange_filter, "seconds": seconds})
        answer = await self._ask("POST", "/v1/recordings", content)
        _refuse(answer)
        return msgspec.json.decode(answer.content, type=Recording)

    async def _ask(self, method: str, path: str, content: bytes = b"") -> Answer:
        headers = {"content-type": "application/json"} if content else {}
        try:
            return await self._client.request(method, path, content=content, headers=headers)
        except LocalHttpError as error:
            raise NoAnswerError(f"the controller at {self._url} gave no answer ({error})") from error


def _refuse(answer: Answer) -> None:
    if answer.is_error:
        raise RefusedError.of(answer)


def _event(line: bytes) -> Event:
    message = msgspec.json.decode(line, type=_Line)
    return Event(
        exchange=bytes(message.exchange),
        dropped=message.dropped.exchanges if message.dropped else 0,
        nodes=tuple(message.nodes) if message.nodes is not None else None,
        ended=message.ended.reason if message.ended else "",
    )
