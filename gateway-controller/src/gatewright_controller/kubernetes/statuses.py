"""Writes statuses where they differ from what objects have, and no others."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterator, Mapping

from gatewright_documents.values import JsonObject

from gatewright_controller.gateway_api import Key
from gatewright_controller.kubernetes.cache import Cache
from gatewright_controller.kubernetes.client import CONFLICT, FORBIDDEN, NOT_FOUND, ApiError
from gatewright_controller.kubernetes.conditions import has_ours, merge_patch, merge_status, without_ours
from gatewright_controller.kubernetes.paths import Resource
from gatewright_controller.kubernetes.writing import Writer

log = logging.getLogger(__name__)
AT_ONCE = 8
TRIES = 5
"""Of one status, while others write the object."""


class Statuses:
    """Of one term. resources: by the kinds that have statuses of ours. now: as conditions have times."""

    def __init__(
        self,
        writer: Writer,
        cache: Cache,
        resources: Mapping[str, Resource],
        controller_name: str,
        now: Callable[[], str],
        count_write: Callable[[str], None],
    ) -> None:
        self._writer, self._cache, self._resources = writer, cache, resources
        self._controller_name, self._now, self._count_write = controller_name, now, count_write
        self._settled: dict[Key, tuple[str, JsonObject | None]] = {}
        """By key, the version of the object and the draft that were found to agree, or that the server made of it."""
        self._troubles: dict[Key, str] = {}

    async def write(self, drafts: Mapping[Key, JsonObject], postponed: Collection[Key] = ()) -> bool:
        """Whether all objects have what they are to have; one that could not be written is to be tried again.
        postponed: objects whose statuses stay as they are for now."""
        self._settled = {key: known for key, known in self._settled.items() if self._cache.get(key)}
        self._troubles = {key: trouble for key, trouble in self._troubles.items() if trouble and self._cache.get(key)}
        wanted = ((key, draft) for key, draft in self._list_wanted(drafts) if key not in postponed)
        waiting = [(key, draft) for key, draft in wanted if not self._is_settled(key, draft)]
        slots = asyncio.Semaphore(AT_ONCE)

        async def write_one(key: Key, draft: JsonObject | None) -> bool:
            async with slots:
                return await self._write(key, draft)

        results = await asyncio.gather(*(write_one(key, draft) for key, draft in waiting))
        return all(results)

    def _list_wanted(self, drafts: Mapping[Key, JsonObject]) -> Iterator[tuple[Key, JsonObject | None]]:
        """None: the object has to lose what this controller has written."""
        for key, draft in drafts.items():
            if self._cache.get(key):
                yield key, draft
        for kind in self._resources:
            for key, found in self._cache.of_kind(kind).items():
                if key not in drafts and has_ours(found.get("status") or {}, self._controller_name):
                    yield key, None

    def _is_settled(self, key: Key, draft: JsonObject | None) -> bool:
        found = self._cache.get(key)
        return bool(found) and self._settled.get(key) == (_version(found or {}), draft)

    async def _write(self, key: Key, draft: JsonObject | None) -> bool:
        path = self._resources[key[0]].path(key[1], key[2])
        found = self._cache.get(key)
        try:
            for _ in range(TRIES):
                if found is None or await self._has_written(key, path, found, draft):
                    return self._note(key, "")
                found = await self._writer.get(path)
        except ApiError as error:
            if error.status == NOT_FOUND:
                return self._note(key, "")
            cure = "; let the service account patch its status" if error.status == FORBIDDEN else ""
            return self._note(key, f"{error}{cure}")
        return self._note(key, f"others wrote the object {TRIES} times meanwhile")

    async def _has_written(self, key: Key, path: str, found: JsonObject, draft: JsonObject | None) -> bool:
        """Whether the object has it. Raises `ApiError`."""
        live = found.get("status") or {}
        wanted = (
            without_ours(live, self._controller_name)
            if draft is None
            else merge_status(live, draft, self._controller_name, self._now())
        )
        patch = merge_patch(live, wanted)
        if patch:
            body = {"metadata": {"resourceVersion": _version(found)}, "status": patch}
            try:
                found = await self._writer.merge(f"{path}/status", body)
            except ApiError as error:
                if error.status == CONFLICT:
                    return False
                raise
            self._count_write(key[0])
        self._settled[key] = _version(found), draft
        return True

    def _note(self, key: Key, trouble: str) -> bool:
        """Logs each trouble once."""
        if trouble and self._troubles.get(key) != trouble:
            log.error("status not written", extra={"object": "/".join(filter(None, key)), "reason": trouble})
        self._troubles[key] = trouble
        return not trouble


def _version(found: JsonObject) -> str:
    return str(found["metadata"].get("resourceVersion", ""))
