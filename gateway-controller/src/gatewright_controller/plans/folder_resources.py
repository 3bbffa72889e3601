"""Defaults and Namespaces of a folder whose files have all that there are: which take effect, and why others do not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal

import msgspec
from gatewright_documents.mistake import Invalid
from gatewright_documents.values import JsonObject

from gatewright_controller.kinds import Kinds
from gatewright_controller.plans.folder import (
    KINDS,
    DocumentState,
    DocumentStatus,
    FolderContents,
    FolderKind,
    Named,
    second_of,
    sentences,
)
from gatewright_controller.plans.resource_steps import Key, ResourcePlan, ResourceStep
from gatewright_controller.store import API, StoredResource

Refuse = Callable[[Key, Mapping[Key, JsonObject | None]], None]
"""Raises `Invalid` where APIs could not go on with the resource, beside what else is to be."""


class FolderResources(msgspec.Struct):
    """plan: what changes. statuses: of the documents, in any order. holders: as of APIs, by `KIND/NAME`."""

    steps: list[ResourceStep] = msgspec.field(default_factory=list)
    statuses: list[DocumentStatus] = msgspec.field(default_factory=list)
    holders: dict[str, str] = msgspec.field(default_factory=dict)

    @property
    def plan(self) -> ResourcePlan:
        """What changes."""
        return ResourcePlan(tuple(self.steps))


def plan_folder_resources(
    kinds: Kinds, contents: FolderContents, holders: Mapping[str, str], refuse: Refuse
) -> FolderResources:
    """A document that is wrong is left out with its reason, and what is stored stays what it was."""
    stored: dict[Key, StoredResource] = {}
    for kind in KINDS:
        if kind != API:
            stored |= {(kind, found.name): found for found in kinds[kind].list_stored()}
    planned, changes = FolderResources(), dict[Key, JsonObject | None]()
    if contents.deletes:
        changes.update(dict.fromkeys(stored.keys() - contents.others.keys()))
    for key, same_name in contents.others.items():
        winner = _winner(same_name, holders.get("/".join(key)))
        try:
            kept = _kept(kinds, key, winner, stored.get(key))
            if (before := stored.get(key)) is None or before.document != kept:
                refuse(key, {**changes, key: kept})
                changes[key] = kept
            planned.statuses.append(DocumentStatus(winner[0].place, key[1], "served", kind=key[0]))
            planned.holders["/".join(key)] = winner[0].place
        except Invalid as invalid:
            state: DocumentState = "kept" if key in stored else "notServed"
            planned.statuses.append(DocumentStatus(winner[0].place, key[1], state, sentences(invalid), kind=key[0]))
        planned.statuses += _seconds(key, same_name, winner)
    planned.steps += (_step(key, stored.get(key), kept) for key, kept in sorted(changes.items()))
    return planned


def _winner(same_name: Sequence[Named], held: str | None) -> Named:
    """The one that had the name at the last look, else the first in the order of files."""
    return next((named for named in same_name if named[0].place == held), same_name[0])


def _kept(kinds: Kinds, key: Key, named: Named, stored: StoredResource | None) -> JsonObject:
    """Raises `Invalid`."""
    document, content = named
    resources = kinds[key[0]]
    with document.source.locating():
        if mistakes := list(resources.kind.mistakes(content)):
            raise Invalid(mistakes)
        return resources.kept(content, stored)


def _seconds(key: tuple[FolderKind, str], same_name: Sequence[Named], winner: Named) -> Iterator[DocumentStatus]:
    for named in same_name:
        if named is not winner:
            reason = second_of(" ".join(key), winner[0].place)
            yield DocumentStatus(named[0].place, key[1], "notServed", reason, winner[0].place, key[0])


def _step(key: Key, stored: StoredResource | None, kept: JsonObject | None) -> ResourceStep:
    action: Literal["add", "change", "delete"] = "delete" if kept is None else "change" if stored else "add"
    return ResourceStep(*key, action, stored, kept, stored.owner if stored else "")
