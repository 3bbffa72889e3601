"""A client for what a controller has, whatever its kind: lists of resources, one of them, its deletion."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import msgspec

from gatewright_cli.clients.controller_refusals import NoAnswerError, RefusedError, raise_without_database
from gatewright_cli.local_http import Answer, LocalClient, LocalHttpError

ANSWER_SECONDS = 40.0
CREATED, ACCEPTED = 201, 202
LONGEST_WAIT = 300.0
"""Seconds: the controller takes no longer `?wait`."""
Resource = dict[str, Any]
Query = Sequence[tuple[str, str]]
"""Parameters of a list, of which each may come several times."""


class Resources:
    """A client of the controller at a URL ("http://127.0.0.1:9090"). token: its token; "" for none. tls: for an https
    URL. seconds: how long a request may take.

    All methods raise RefusedError and NoAnswerError.
    """

    def __init__(
        self, controller: str, token: str, tls: ssl.SSLContext | None = None, seconds: float = ANSWER_SECONDS
    ) -> None:
        self._url = controller
        self._client = LocalClient(None, controller, seconds, tls)
        if token:
            self._client.headers["authorization"] = f"Bearer {token}"

    async def fetch_all(self, path: str, member: str, query: Query = ()) -> list[Resource]:
        """The resources of a list, in its order, all pages of it. member: of the answer that has them."""
        return [resource async for resource in self.stream_all(path, member, query)]

    async def stream_all(self, path: str, member: str, query: Query = ()) -> AsyncIterator[Resource]:
        """As `fetch_all`, each as it arrives. A page is asked for when the one before it has been used."""
        page = await self.fetch(f"{path}?{urlencode(query)}" if query else path)
        while True:
            for resource in self._items(page, member):
                yield resource
            if not page.get("next") or not page[member]:
                return
            page = await self.fetch(page["next"])

    async def fetch(self, path: str) -> Resource:
        """The JSON object at a path."""
        return self._decode(await self._ask("GET", path))

    async def fetch_bytes(self, path: str) -> bytes:
        """The content at a path, as it is."""
        return (await self._ask("GET", path)).content

    async def create(self, path: str, document: Resource, terms: Mapping[str, str]) -> Resource:
        """Creates a resource, and returns it. terms: of the write."""
        content, headers = msgspec.json.encode(document), {"content-type": "application/json"}
        return self._decode(await self._ask("POST", path, content=content, headers=headers, params=terms))

    async def put(
        self, path: str, document: Resource, headers: Mapping[str, str], terms: Mapping[str, str]
    ) -> tuple[Resource, bool]:
        """Creates or replaces a resource. Returns it, and whether there was none. headers: such as If-Match."""
        content, sent = msgspec.json.encode(document), {"content-type": "application/json", **headers}
        answer = await self._ask("PUT", path, content=content, headers=sent, params=terms)
        return self._decode(answer), answer.status_code == CREATED

    async def act(self, path: str, query: Mapping[str, str] | None = None, wait: float = LONGEST_WAIT) -> Resource:
        """Has the controller do what is at the path. Returns what it answers. wait: how long it may take, in s."""
        return self._decode(await self._ask("POST", path, params=query or {}, timeout=self._client.timeout + wait))

    async def delete(
        self, path: str, wait: float, headers: Mapping[str, str], terms: Mapping[str, str] | None = None
    ) -> str:
        """Deletes a resource. Returns the reason why it is not gone from each node yet; "" if it is.

        wait: how many seconds to wait for the nodes. terms: of the write.
        """
        query = {**({"wait": f"{wait:.3f}"} if wait else {}), **(terms or {})}
        answer = await self._ask("DELETE", path, params=query, headers=headers, timeout=self._client.timeout + wait)
        return str(self._decode(answer).get("reason", "")) if answer.status_code == ACCEPTED else ""

    def _items(self, page: Resource, member: str) -> list[Resource]:
        """Raises RefusedError."""
        items = page.get(member)
        if not isinstance(items, list):
            raise RefusedError(f"expected {member!r} in the answer of {self._url}, got none: is a controller there?")
        return items

    def _decode(self, answer: Answer) -> Resource:
        """Raises RefusedError."""
        try:
            return msgspec.json.decode(answer.content, type=Resource)
        except msgspec.DecodeError as error:
            expected = f"expected a JSON object from {self._url}"
            raise RefusedError(f"{expected}, got other content ({error}): is a controller there?") from error

    async def _ask(self, method: str, path: str, **request: Any) -> Answer:
        try:
            answer = await self._client.request(method, path, **request)
        except LocalHttpError as error:
            raise NoAnswerError(f"the controller at {self._url} gave no answer ({error})") from error
        raise_without_database(answer)
        if answer.is_error:
            raise RefusedError.of(answer)
        return answer
