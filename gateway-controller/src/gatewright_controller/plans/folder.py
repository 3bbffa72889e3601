"""A folder whose files have all APIs, Defaults and Namespaces that there are: which of its documents count, and why
others do not.

Pure, from values to values. Of two documents of one name the one wins that had it at the last look, else the one that
says what is stored, else the first in the order of files. Of two APIs that claim the same context the one that has it
in the store wins, else the first in the order of files. A loser is planned anew at each change of the folder, so that
it is served once the winner is gone or has moved.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, get_args

import msgspec
from gatewright_documents.mistake import Invalid, Mistake, listed, shown
from gatewright_documents.values import JsonObject

from gatewright_controller.apis.api_source import ApiSource
from gatewright_controller.plans.plan import ApiPlan, Conflict, Intent, WantedApi
from gatewright_controller.plans.planner import plan_apis
from gatewright_controller.plans.wanted import name_of
from gatewright_controller.resource.hosts import EVERY_HOST
from gatewright_controller.store import API, StoredApi

FolderKind = Literal["Api", "Defaults", "Namespace"]
KINDS: tuple[FolderKind, ...] = get_args(FolderKind)
DocumentState = Literal["served", "kept", "notServed"]
"""Of a document. `kept`: it is wrong, or has lost, and its API is served as it was before."""
ReadApi = Callable[[ApiSource, JsonObject, StoredApi | None], WantedApi]
"""The API that a document says; the one that is stored by its name. Raises `Invalid`."""


class FolderDocument(msgspec.Struct, frozen=True):
    """place: its file, with its line where the file has several, `b.yaml:12`."""

    place: str
    source: ApiSource


Named = tuple[FolderDocument, JsonObject]


class DocumentStatus(msgspec.Struct, frozen=True):
    """What has become of a document. api: the name of the API, or of what else it is by its kind; "" where it cannot be
    read. winner: the API, or the place of the document, that has what it claims."""

    place: str
    api: str
    state: DocumentState
    reason: str = ""
    winner: str = ""
    kind: FolderKind = "Api"


class FolderPlan(msgspec.Struct, frozen=True):
    """documents: in any order. holders: the place that each name is read from. deletes: whether what the
    folder has not goes."""

    plan: ApiPlan
    documents: Sequence[DocumentStatus]
    holders: Mapping[str, str]
    deletes: bool


class _Refused(msgspec.Struct, frozen=True):
    """is_second: another document has its name."""

    place: str
    name: str
    reason: str
    winner: str = ""
    is_second: bool = False


class _Sorted(msgspec.Struct):
    """The documents so far. wanted: by name, the place and the API. stored: by name."""

    stored: Mapping[str, StoredApi]
    wanted: dict[str, tuple[str, WantedApi]] = msgspec.field(default_factory=dict)
    refused: list[_Refused] = msgspec.field(default_factory=list)

    def is_kept(self, refused: _Refused) -> bool:
        """Whether its API is served as it was."""
        return refused.name in self.stored and not refused.is_second


class FolderContents(msgspec.Struct, frozen=True):
    """What could be read of a folder. apis: by name, others by kind and name, each in the order of files. unread: the
    others. deletes: whether what the folder has not goes: nothing does while a document has no name that can be read,
    or there is none at all, for what is stored could be its.
    """

    apis: Mapping[str, Sequence[Named]]
    others: Mapping[tuple[FolderKind, str], Sequence[Named]]
    unread: Sequence[DocumentStatus]
    deletes: bool


def read_folder(documents: Sequence[FolderDocument]) -> FolderContents:
    """It may take a while: not for the event loop."""
    apis: dict[str, list[Named]] = {}
    others: dict[tuple[FolderKind, str], list[Named]] = {}
    unread: list[DocumentStatus] = []
    for document in documents:
        try:
            content = document.source.read()
            with document.source.locating():
                kind, name = _read_identity(content)
        except Invalid as invalid:
            unread.append(DocumentStatus(document.place, "", "notServed", sentences(invalid)))
            continue
        of_name = apis.setdefault(name, []) if kind == API else others.setdefault((kind, name), [])
        of_name.append((document, content))
    return FolderContents(apis, others, unread, bool(documents) and not unread)


def plan_folder(
    contents: FolderContents, stored: Mapping[str, StoredApi], holders: Mapping[str, str], read: ReadApi
) -> FolderPlan:
    """Of its APIs. holders: of the last look."""
    found = _Sorted(stored)
    for name, same_name in contents.apis.items():
        _sort(name, same_name, found, holders.get(name), read)
    plan = _without_conflicts(found, Intent(is_all=contents.deletes))
    statuses = [DocumentStatus(place, name, "served") for name, (place, _) in found.wanted.items()]
    statuses += contents.unread
    statuses += [
        DocumentStatus(
            refused.place,
            refused.name,
            "kept" if found.is_kept(refused) else "notServed",
            refused.reason,
            refused.winner,
        )
        for refused in found.refused
    ]
    held = {name: place for name, (place, _) in found.wanted.items()}
    return FolderPlan(plan, statuses, held, contents.deletes)


def _read_identity(document: JsonObject) -> tuple[FolderKind, str]:
    """Kind and name. Raises `Invalid`."""
    kind = next((kind for kind in KINDS if kind == document.get("kind")), None)
    if kind is None:
        cure = "a folder of APIs has no other kind; the Gateway has a file of its own"
        expected = listed([repr(kind) for kind in KINDS])
        raise Invalid([Mistake.expecting(expected, shown(document.get("kind")), cure, field="kind")])
    if not (name := name_of(document)):
        raise Invalid([Mistake.expecting("a name", "none", field="metadata.name")])
    return kind, name


def _sort(name: str, same_name: Sequence[Named], found: _Sorted, held: str | None, read: ReadApi) -> None:
    """Of the documents of one name, one is wanted at most."""
    stored = found.stored.get(name)
    winner, content = _winner(same_name, stored, held, read)
    try:
        found.wanted[name] = winner.place, read(winner.source, content, stored)
    except Invalid as invalid:
        found.refused.append(_Refused(winner.place, name, sentences(invalid)))
    for document, _ in same_name:
        if document is not winner:
            reason = second_of(f"the API {name}", winner.place)
            found.refused.append(_Refused(document.place, name, reason, winner.place, is_second=True))


def second_of(resource: str, winner: str) -> str:
    """Why a document of a name that another place has too is not served."""
    return (
        f"{winner} has {resource} already; this one is served once that one is gone or has another name, or give one "
        "of the two another name"
    )


def _winner(same_name: Sequence[Named], stored: StoredApi | None, held: str | None, read: ReadApi) -> Named:
    by_place = {document.place: (document, content) for document, content in same_name}
    if len(same_name) == 1 or held in by_place:
        return by_place.get(held or "", same_name[0])
    for document, content in same_name:
        try:
            if stored and read(document.source, content, stored).api is stored.api:
                return document, content
        except Invalid:
            continue
    return same_name[0]


def _without_conflicts(found: _Sorted, intent: Intent) -> ApiPlan:
    """Refuses what loses, until nothing does. What is stored of a refused document stays as it is."""
    while True:
        kept = {refused.name for refused in found.refused if found.is_kept(refused)}
        staying = [WantedApi(found.stored[name].api, found.stored[name].versions) for name in sorted(kept)]
        wanted = [*staying, *(api for _, api in found.wanted.values())]
        plan = plan_apis(found.stored.values(), wanted, intent)
        losers = {conflict.name: conflict for conflict in reversed(plan.conflicts) if conflict.name in found.wanted}
        if not losers:
            return plan
        for name, conflict in losers.items():
            place, _ = found.wanted.pop(name)
            found.refused.append(_Refused(place, name, _lost(conflict), conflict.winner))


def _lost(conflict: Conflict) -> str:
    claim = conflict.claim
    where = "" if claim.host == EVERY_HOST else f" on the host {claim.host!r}"
    why = f"had it first, since {conflict.since}" if conflict.since else "stands first in the order of files"
    what = f"the name {claim.context!r}" if claim.is_name else f"the context {claim.context!r}{where}"
    another = "other names" if claim.is_name else "another context"
    return (
        f"{what} is {conflict.winner}'s, which {why}; {conflict.name} is served once "
        f"{conflict.winner} is gone or has moved, or give one of the two {another}"
    )


def sentences(invalid: Invalid) -> str:
    """All mistakes."""
    return "; ".join(map(str, invalid.mistakes))
