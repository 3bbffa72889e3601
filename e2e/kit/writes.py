"""Writes to controllers, and whether the store's history has what their answers say."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import httpx

Outcome = Literal["acknowledged", "refused", "failed", "unknown"]
"""refused: another writer was faster (412). failed: the answer says that nothing was stored. unknown: the answer says
that it is not known, or there is none."""


@dataclass(frozen=True)
class Write:
    """seen: the revision that the writer had read, and sent as If-Match; 0: it sent none. revision: of the answer."""

    at: float
    ended: float
    controller: str
    api: str
    stamp: str
    seen: int
    outcome: Outcome
    revision: int = 0
    answer: str = ""


@dataclass(frozen=True)
class Entry:
    """A revision of an API in the store, and the stamp of the write that made it."""

    revision: int
    stamp: str


def find_mistakes(writes: Sequence[Write], history: Mapping[str, Sequence[Entry]]) -> list[str]:
    """What is wrong between the answers of writes and the history, in sentences. history: by API, in any order."""
    return [*_lost(writes, history), *_unexpected(writes, history), *_overwritten(writes, history)]


def _lost(writes: Sequence[Write], history: Mapping[str, Sequence[Entry]]) -> list[str]:
    entries = {(api, entry.revision): entry.stamp for api, listed in history.items() for entry in listed}
    return [
        f"{write.controller} acknowledged {write.stamp} as {write.api}@{write.revision}, and the history has "
        f"{entries.get((write.api, write.revision), 'nothing')} there"
        for write in writes
        if write.outcome == "acknowledged" and entries.get((write.api, write.revision)) != write.stamp
    ]


def _unexpected(writes: Sequence[Write], history: Mapping[str, Sequence[Entry]]) -> list[str]:
    stored = {entry.stamp: f"{api}@{entry.revision}" for api, listed in history.items() for entry in listed}
    return [
        f"{write.controller} answered {write.stamp} with {write.answer}: the history has it as {stored[write.stamp]}"
        for write in writes
        if write.outcome in ("refused", "failed") and write.stamp in stored
    ]


def _overwritten(writes: Sequence[Write], history: Mapping[str, Sequence[Entry]]) -> list[str]:
    """Of a write with If-Match, the revision before its own is the one that it was made for."""
    seen = {write.stamp: write.seen for write in writes if write.seen}
    mistakes = []
    for api, listed in history.items():
        ordered = sorted(listed, key=lambda entry: entry.revision)
        for before, entry in itertools.pairwise(ordered):
            if entry.stamp in seen and seen[entry.stamp] != before.revision:
                mistakes.append(
                    f"{entry.stamp} was made of {api}@{seen[entry.stamp]}, and follows {api}@{before.revision}: "
                    "an update is lost"
                )
    return mistakes


def history_of(client: httpx.Client, name: str) -> list[Entry]:
    """All writes of an API in the store."""
    path, entries = f"/v1/apis/{name}/revisions?limit=1000", list[Entry]()
    while path:
        answer = client.get(path).raise_for_status().json()
        entries += [Entry(entry["revision"], entry["reason"]) for entry in answer["revisions"]]
        path = answer.get("next", "")
    return entries
