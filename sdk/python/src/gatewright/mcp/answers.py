"""Messages of MCP's servers: JSON, or events of a stream; read as they pass, or changed on their way."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from gatewright.llm.splitting import Events
from gatewright.streams import LIMIT, SseEvent, SseParser, StreamError

Json: TypeAlias = dict[str, Any]
Edit: TypeAlias = Callable[[Json], Json]
"""Returns the message that goes on in the place of this one, or the same."""
_EVENTS = "text/event-stream"
_JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Result:
    """A server's answer to a request."""

    id: Any
    code: int | None
    """Of a JSON-RPC error; None: it has a result."""
    is_error: bool
    """Whether it is an error, or the result of a tool that has failed (`isError`)."""


def media_type_of(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def results_of(document: Any) -> Iterator[Result]:
    """The answers in a message, or in a batch of them."""
    for message in document if isinstance(document, list) else [document]:
        if not isinstance(message, dict) or "method" in message or "id" not in message:
            continue
        error, result = message.get("error"), message.get("result")
        if isinstance(error, dict):
            code = error.get("code")
            yield Result(message["id"], code if isinstance(code, int) else 0, is_error=True)
        elif isinstance(result, dict):
            yield Result(message["id"], None, is_error=result.get("isError") is True)


class AnswerReader:
    """The messages of an answer, which is fed with pieces that are cut anywhere.

    One of more than `limit` bytes is skipped, so that memory is bounded; `skipped` counts those, and what is no JSON.
    """

    def __init__(self, content_type: str, limit: int = LIMIT) -> None:
        kind = media_type_of(content_type)
        self._events = Events(limit) if kind == _EVENTS else None
        self._body = bytearray() if kind == _JSON else None
        self._limit = limit
        self._unread = 0

    @property
    def skipped(self) -> int:
        return self._unread + (0 if self._events is None else self._events.skipped)

    def feed(self, piece: bytes) -> Iterator[Any]:
        if self._events is not None:
            for event in self._events.feed(piece):
                yield from self._parse(event.data)
        elif self._body is not None:
            if len(self._body) + len(piece) > self._limit:
                self._body = None
                self._unread += 1
            else:
                self._body += piece

    def end(self) -> Iterator[Any]:
        if self._events is not None:
            for event in self._events.end():
                yield from self._parse(event.data)
        elif self._body:
            yield from self._parse(bytes(self._body))

    def _parse(self, data: str | bytes | None) -> Iterator[Any]:
        if not data:
            return
        try:
            yield json.loads(data)
        except (ValueError, RecursionError):
            self._unread += 1


class AnswerEditor:
    """Changes the messages of an answer: `edit` gets each that is an object, also those of a batch.

    JSON comes whole at the end, events one by one; what is no message, such as a ping, goes on as it came.
    StreamError: an answer that is neither, no JSON, or a message of more than `limit` bytes, of which nothing goes on.
    """

    def __init__(self, content_type: str, edit: Edit, limit: int = LIMIT) -> None:
        kind = media_type_of(content_type)
        if kind not in (_EVENTS, _JSON):
            raise StreamError(f"expected {_JSON} or {_EVENTS}, got {kind[:100] or 'no content type'}")
        self._parser = SseParser(limit) if kind == _EVENTS else None
        self._body = bytearray()
        self._edit = edit
        self._limit = limit

    def feed(self, piece: bytes) -> bytes:
        """What goes on after this piece; b"" if nothing does yet."""
        if self._parser is not None:
            return b"".join(map(self._edit_event, self._parser.feed(piece)))
        self._body += piece
        if len(self._body) > self._limit:
            raise StreamError(f"expected an answer of at most {self._limit} bytes, got more")
        return b""

    def end(self) -> bytes:
        """The rest."""
        if self._parser is not None:
            return b"".join(map(self._edit_event, self._parser.end()))
        return self._edit_text(bytes(self._body)).encode() if self._body else b""

    def _edit_event(self, event: SseEvent) -> bytes:
        if event.data is None or event.data.lstrip()[:1] not in ("{", "["):
            return event.raw
        return event.with_data(self._edit_text(event.data)).encode()

    def _edit_text(self, text: str | bytes) -> str:
        try:
            document = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise StreamError(f"expected JSON in the answer of a server, got what is none: {error}") from None
        edited = [self._edit_one(item) for item in document] if isinstance(document, list) else self._edit_one(document)
        return json.dumps(edited, ensure_ascii=False, separators=(",", ":"))

    def _edit_one(self, document: Any) -> Any:
        return self._edit(document) if isinstance(document, dict) else document
