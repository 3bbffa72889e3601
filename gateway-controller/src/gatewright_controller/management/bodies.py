"""Documents in the bodies of requests: within a bound, parsed beside the event loop, mistakes with their lines."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from functools import partial
from typing import TypeVar

from gatewright_documents.json_reader import line_tree, parse_json
from gatewright_documents.mistake import Invalid, Unreadable, without_values
from gatewright_documents.values import JsonObject, JsonValue
from gatewright_documents.yaml_reader import parse_yaml
from starlette.requests import Request

from gatewright_controller import API_DOCUMENT
from gatewright_controller.apis.api_source import ApiSource
from gatewright_controller.management.accept import YAML_TYPES
from gatewright_controller.management.json_body import bounded_body, json_body
from gatewright_controller.management.problems import Problem

_json, _yaml = partial(parse_json, expected=API_DOCUMENT), partial(parse_yaml, expected=API_DOCUMENT)
PARSERS: dict[str, Callable[[bytes], JsonObject]] = {
    "application/json": _json,
    **dict.fromkeys(YAML_TYPES, _yaml),
}
MEDIA_TYPES = tuple(PARSERS)
MAX_DEFINITIONS_BYTES = 32 * 1024 * 1024
MAX_DEFINITIONS_VALUES = 1_000_000
"""Each document of a set is a text with a name; what may stand in the text is its reader's to say."""
T = TypeVar("T")
ReadObject = Callable[[Request], Awaitable[JsonObject]]
"""Reads the JSON object in a request's body, as `Bodies.json_object`."""


class Bodies:
    """Reads the bodies of all requests of a controller. max_bytes: of one document."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._one_reader = asyncio.Semaphore(1)

    @contextlib.asynccontextmanager
    async def document(self, request: Request, *, hides_values: bool = False) -> AsyncIterator[JsonObject]:
        """The resource in the body. Mistakes that are found in it are reported with their lines. hides_values: what
        cannot be read is in none of them."""
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type not in PARSERS:
            raise Problem(415, f"expected a Content-Type of {', '.join(PARSERS)}, got {media_type or 'none'}")
        parse, body = PARSERS[media_type], await bounded_body(request, self._max_bytes)
        try:
            document = await self._reading(parse, body)
        except Unreadable as unreadable:
            raise without_values(unreadable) if hides_values else unreadable from None
        document.pop("status", None)  # the controller's; a client that sends back what it got changes nothing by it
        try:
            yield document
        except Invalid as invalid:
            where = await self._reading(line_tree, body)
            raise invalid.located(where.line_of) from None

    async def json_object(self, request: Request) -> JsonObject:
        """The body, whatever its content type."""
        return await self._reading(parse_json, await bounded_body(request, self._max_bytes))

    async def definitions(self, request: Request) -> JsonObject:
        """The body of a request with definitions of policies, or documents of a set, which may be many."""
        parse = partial(parse_json, most_values=MAX_DEFINITIONS_VALUES)
        return await self._reading(parse, await json_body(request, MAX_DEFINITIONS_BYTES))

    def sources(self, document: JsonObject) -> list[ApiSource]:
        """The APIs in a body, none where it names none."""
        found = document.get("apis", [])
        if not isinstance(found, list) or not all(map(_is_source, found)):
            raise Problem(422, 'expected "apis": [{"file": FILE, "text": TEXT}, …]')
        return self.bounded(
            ApiSource(source["file"], source["text"].encode(), line=source.get("line", 1)) for source in found
        )

    def bounded(self, found: Iterable[ApiSource]) -> list[ApiSource]:
        """The sources. Raises `Problem` where one is larger than a document may be."""
        sources = list(found)
        if long := [source.file for source in sources if len(source.text) > self._max_bytes]:
            raise Problem(413, f"expected APIs of at most {self._max_bytes} bytes each, got more in {long[0]}")
        return sources

    async def _reading(self, read: Callable[[bytes], T], body: bytes) -> T:
        """One body after the other, beside the event loop: it shares the interpreter with one reader, not with many."""
        async with self._one_reader:
            return await asyncio.to_thread(read, body)


def has_body(request: Request) -> bool:
    """Whether the client sends anything with the request."""
    return request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers


def _is_source(value: JsonValue) -> bool:
    """Members that are wrong by their values are refused by the shape."""
    types = {"file": str, "text": str, "line": int}
    return isinstance(value, dict) and all(isinstance(value.get(key, 1), type_) for key, type_ in types.items())
