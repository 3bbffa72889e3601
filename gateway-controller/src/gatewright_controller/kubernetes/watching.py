"""Follows the objects of one kind: a list, then a watch from the list's version on, for as long as it lasts.

A version that the server has forgotten (410) leads to a new list. Nothing is polled.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec
from gatewright_documents.values import JsonObject

from gatewright_controller.kubernetes.backoff import Backoff
from gatewright_controller.kubernetes.client import FORBIDDEN, GONE, NOT_FOUND, ApiClient, ApiError
from gatewright_controller.kubernetes.paths import Resource

log = logging.getLogger(__name__)
PAGE = 500
"""Objects that a list is asked for at once."""
SHORTEST_SECONDS, LONGEST_SECONDS = 300, 600
"""Of a watch, which the server ends then. Drawn between both, so that watches do not end together."""
QUICK_SECONDS = 1.0
"""A watch that ends sooner counts as a failure."""
MISSING_PAUSE_SECONDS = 10.0
"""After which a kind is asked for again that the server does not have, at first."""


class Selection(msgspec.Struct, frozen=True):
    """What of a kind is watched. namespace: "" for all. prepare: what is kept of an object."""

    kind: str
    resource: Resource
    namespace: str = ""
    query: Mapping[str, str] = msgspec.field(default_factory=dict)
    is_required: bool = True
    prepare: Callable[[JsonObject], JsonObject] = lambda found: found

    @property
    def path(self) -> str:
        """Of its list and its watch."""
        return self.resource.namespace_path(self.namespace) if self.namespace else self.resource.all_path()


class Sink(Protocol):
    """What is told of the objects."""

    def replace(self, kind: str, listed: list[JsonObject]) -> None:
        """All of a kind."""

    def put(self, kind: str, found: JsonObject) -> None:
        """One that is new, or has changed."""

    def drop(self, kind: str, found: JsonObject) -> None:
        """One that is gone."""


class GoneError(Exception):
    """The server has forgotten the version that a watch is to begin at."""


class Watch:
    """Of one kind. `run` it until it is cancelled."""

    def __init__(self, client: ApiClient, selection: Selection, sink: Sink) -> None:
        self._client, self._selection, self._sink = client, selection, sink
        self._version, self._was_listed = "", False
        self._backoff, self._missing = Backoff(), Backoff(MISSING_PAUSE_SECONDS, 60.0)
        self._trouble = ""

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            try:
                if not self._version:
                    await self._list()
                await self._watch()
            except GoneError:
                self._version = ""
            except ApiError as error:
                await self._pause_after(error)
            except Exception:  # an event that is not as they are
                log.exception("%s are listed again", self._selection.resource.plural)
                self._version = ""
                await asyncio.sleep(self._backoff.next_pause())

    async def _list(self) -> None:
        listed: list[JsonObject] = []
        query: dict[str, str | int] = {**self._selection.query, "limit": PAGE}
        while True:
            try:
                page = await self._client.get(self._selection.path, **query)
            except ApiError as error:
                if error.status == GONE:  # the version of the pages before
                    raise GoneError from None
                raise
            listed += (self._prepared(item) for item in page.get("items") or [])
            if not (following := page["metadata"].get("continue")):
                break
            query["continue"] = following
        self._version, self._was_listed = page["metadata"]["resourceVersion"], True
        self._sink.replace(self._selection.kind, listed)
        self._note_success()

    async def _watch(self) -> None:
        """Until the server ends it. Raises `GoneError`, `ApiError`."""
        began = time.monotonic()
        seconds = random.randint(SHORTEST_SECONDS, LONGEST_SECONDS)  # noqa: S311 - no secret
        events = self._client.watch(
            self._selection.path, seconds, **self._selection.query, resourceVersion=self._version
        )
        async with contextlib.aclosing(events):
            try:
                async for event in events:
                    self._version = self.receive(event)
                    self._note_success()
            except ApiError as error:
                if error.status == GONE:
                    raise GoneError from None
                raise
        if time.monotonic() - began < QUICK_SECONDS:
            await asyncio.sleep(self._backoff.next_pause())

    def receive(self, event: JsonObject) -> str:
        """Hands on what a watch has sent; returns the version at which the next watch begins. Raises `GoneError`,
        `ApiError`."""
        what, found = event["type"], event["object"]
        if what == "ERROR":
            if found.get("code") == GONE:
                raise GoneError
            raise ApiError(int(found.get("code") or 0), f"watch {self._selection.path}: {found.get('message')}")
        if what == "DELETED":
            self._sink.drop(self._selection.kind, found)
        elif what in ("ADDED", "MODIFIED"):
            self._sink.put(self._selection.kind, self._prepared(found))
        version: str = found["metadata"]["resourceVersion"]
        return version

    def _prepared(self, found: JsonObject) -> JsonObject:
        found["metadata"].pop("managedFields", None)
        return self._selection.prepare(found)

    def _note_success(self) -> None:
        self._backoff.reset()
        self._missing.reset()
        if self._trouble:
            log.info("%s are watched again", self._selection.resource.plural)
        self._trouble = ""

    def _note_missing(self) -> None:
        """A cluster may lack some kinds. One whose objects were listed is not taken for empty: a server that starts may
        not have it yet, and its watch reports what is deleted."""
        if not self._selection.is_required and not self._was_listed:
            self._was_listed = True
            self._sink.replace(self._selection.kind, [])

    async def _pause_after(self, error: ApiError) -> None:
        plural = self._selection.resource.plural
        if error.status == NOT_FOUND:
            self._note_missing()
            pause = self._missing.next_pause()
            reason = f"the cluster has no {self._selection.resource.api_version} {plural}; install their CRD"
        else:
            pause = self._backoff.next_pause(error.retry_after)
            cure = (
                f"; let the controller's service account list and watch {plural}" if error.status == FORBIDDEN else ""
            )
            reason = f"{plural} cannot be watched: {error}{cure}"
        if not self._trouble and error.status:  # a server that is away is said once, by the election
            level = logging.WARNING if self._selection.is_required or error.status != NOT_FOUND else logging.INFO
            log.log(level, reason)
            self._trouble = reason
        await asyncio.sleep(pause)
