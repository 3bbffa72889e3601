"""The objects that are watched, as the API server had them last."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from gatewright_documents.values import JsonObject

from gatewright_controller.gateway_api import Key

SERVERS_OWN = ("resourceVersion", "managedFields")
"""Fields of the metadata that change with each write, whatever it says."""


class Cache:
    """Of one term of a leader. Objects in it are never changed in place.

    `inputs` is the number of changes to what objects say; their statuses do not count, since this controller writes
    them. `changes` counts them too.
    """

    def __init__(self, kinds: Collection[str]) -> None:
        self._by_kind: dict[str, dict[Key, JsonObject]] = {kind: {} for kind in kinds}
        self._unlisted = set(kinds)
        self._changed = asyncio.Event()
        self.inputs = self.changes = 0

    @property
    def is_complete(self) -> bool:
        """Whether each kind was listed once."""
        return not self._unlisted

    def objects(self) -> dict[Key, JsonObject]:
        """All of them, for another thread."""
        return {key: found for of_kind in self._by_kind.values() for key, found in of_kind.items()}

    def of_kind(self, kind: str) -> Mapping[Key, JsonObject]:
        """Those of a kind."""
        return self._by_kind[kind]

    def get(self, key: Key) -> JsonObject | None:
        """None where there is no such object, or its kind is not watched."""
        return self._by_kind.get(key[0], {}).get(key)

    def counts(self) -> Mapping[str, int]:
        """How many objects there are of each kind."""
        return {kind: len(of_kind) for kind, of_kind in self._by_kind.items()}

    def replace(self, kind: str, listed: Iterable[JsonObject]) -> None:
        """All of a kind, as they were listed."""
        before, after = self._by_kind[kind], {key_of(kind, found): found for found in listed}
        is_first = kind in self._unlisted
        self._unlisted.discard(kind)
        self._by_kind[kind] = after
        is_same = before.keys() == after.keys() and all(_says_the_same(before[key], after[key]) for key in after)
        self._note(is_input=is_first or not is_same)

    def put(self, kind: str, found: JsonObject) -> None:
        """One that is new, or has changed."""
        key = key_of(kind, found)
        before = self._by_kind[kind].get(key)
        self._by_kind[kind][key] = found
        self._note(is_input=before is None or not _says_the_same(before, found))

    def drop(self, kind: str, found: JsonObject) -> None:
        """One that is gone."""
        if self._by_kind[kind].pop(key_of(kind, found), None) is not None:
            self._note(is_input=True)

    async def wait_for_change(self) -> None:
        """Returns after the next change."""
        await self._changed.wait()

    def _note(self, *, is_input: bool) -> None:
        self.changes += 1
        self.inputs += is_input
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


def key_of(kind: str, found: JsonObject) -> Key:
    """Of an object."""
    metadata = found["metadata"]
    return kind, metadata.get("namespace", ""), metadata["name"]


def _says_the_same(before: JsonObject, after: JsonObject) -> bool:
    return _input(before) == _input(after)


def _input(found: JsonObject) -> dict[str, Any]:
    metadata = {name: value for name, value in found["metadata"].items() if name not in SERVERS_OWN}
    return {**found, "metadata": metadata, "status": None}
