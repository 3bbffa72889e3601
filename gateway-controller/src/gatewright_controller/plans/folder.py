"""A folder whose files have all APIs that there are: which of its documents are served, and why others are not.

Pure, from values to values. Of two documents of one name the one wins that had it at the last look, else the one that
says what is stored, else the first in the order of files. Of two APIs that claim the same context the one that has it
in the store wins, else the first in the order of files. A loser is planned anew at each change of the folder, so that
it is served once the winner is gone or has moved.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from gatewright_documents.mistake import Invalid, Mistake, shown
from gatewright_documents.values import JsonObject

from gatewright_controller.apis.api_source import ApiSource
from gatewright_controller.plans.plan import ApiPlan, Conflict, Intent, WantedApi
from gatewright_controller.plans.planner import plan_apis
from gatewright_controller.plans.wanted import name_of
from gatewright_controller.resource.hosts import EVERY_HOST
from gatewright_controller.store import StoredApi

DocumentState = Literal["served", "kept", "notServed"]
"""Of a document. `kept`: it is wrong, or has lost, and its API is served as it was before."""
ReadApi = Callable[[ApiSource, JsonObject, StoredApi | None], WantedApi]
"""The API that a document says; the one that is stored by its name. Raises `Invalid`."""


@dataclass(frozen=True)
class FolderDocument:
    """place: its file, with its line where the file has several, `b.yaml:12`."""

    place: str
    source: ApiSource


@dataclass(frozen=True)
class DocumentStatus:
    """What has become of a document. api: its name, "" where it cannot be read. winner: the API, or the place of the
    document, that has what it claims."""

    place: str
    api: str
    state: DocumentState
    reason: str = ""
    winner: str = ""


@dataclass(frozen=True)
class FolderPlan:
    """documents: in the order of files. holders: the place that each name is read from. deletes: whether what the
    folder has not goes."""

    plan: ApiPlan
    documents: Sequence[DocumentStatus]
    holders: Mapping[str, str]
    deletes: bool


@dataclass(frozen=True)
class _Refused:
    """is_second: another document has its name."""

    place: str
    name: str
    reason: str
    winner: str = ""
    is_second: bool = False


@dataclass
class _Sorted:
    """The documents so far. wanted: by name, the place and the API. stored: by name."""

    stored: Mapping[str, StoredApi]
    wanted: dict[str, tuple[str, WantedApi]] = field(default_factory=dict)
    refused: list[_Refused] = field(default_factory=list)

    def is_kept(self, refused: _Refused) -> bool:
        """Whether its API is served as it was."""
        return refused.name in self.stored and not refused.is_second


def plan_folder(
    documents: Sequence[FolderDocument], stored: Mapping[str, StoredApi], holders: Mapping[str, str], read: ReadApi
) -> FolderPlan:
    """holders: of the last look. Nothing goes while a document has no name that can be read, or there is none at all:
    what is stored could be its."""
    found = _Sorted(stored)
    for name, same_name in _by_name(documents, found).items():
        _sort(name, same_name, found, holders.get(name), read)
    deletes = bool(documents) and all(refused.name for refused in found.refused)
    plan = _without_conflicts(found, Intent(is_all=deletes))
    statuses = [DocumentStatus(place, name, "served") for name, (place, _) in found.wanted.items()]
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
    order = {document.place: index for index, document in enumerate(documents)}
    held = {name: place for name, (place, _) in found.wanted.items()}
    return FolderPlan(plan, sorted(statuses, key=lambda status: order[status.place]), held, deletes)


Named = tuple[FolderDocument, JsonObject]


def _by_name(documents: Sequence[FolderDocument], found: _Sorted) -> dict[str, list[Named]]:
    """The documents that have a name, in their order; others are refused."""
    named: dict[str, list[Named]] = {}
    for document in documents:
        try:
            content = document.source.read()
            with document.source.locating():
                named.setdefault(_read_name(content), []).append((document, content))
        except Invalid as invalid:
            found.refused.append(_Refused(document.place, "", _sentences(invalid)))
    return named


def _read_name(document: JsonObject) -> str:
    """Raises `Invalid`."""
    if (kind := document.get("kind")) != "Api":
        cure = "a folder of APIs has no other kind; the Gateway has a file of its own"
        raise Invalid([Mistake.expecting("'Api'", shown(kind), cure, field="kind")])
    if not (name := name_of(document)):
        raise Invalid([Mistake.expecting("a name", "none", field="metadata.name")])
    return name


def _sort(name: str, same_name: Sequence[Named], found: _Sorted, held: str | None, read: ReadApi) -> None:
    """Of the documents of one name, one is wanted at most."""
    stored = found.stored.get(name)
    winner, content = _winner(same_name, stored, held, read)
    try:
        found.wanted[name] = winner.place, read(winner.source, content, stored)
    except Invalid as invalid:
        found.refused.append(_Refused(winner.place, name, _sentences(invalid)))
    for document, _ in same_name:
        if document is not winner:
            reason = (
                f"{winner.place} has the API {name} already; this one is served once that one is gone or has another "
                "name, or give one of the two another name"
            )
            found.refused.append(_Refused(document.place, name, reason, winner.place, is_second=True))


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
    return (
        f"the context {claim.context!r}{where} is {conflict.winner}'s, which {why}; {conflict.name} is served once "
        f"{conflict.winner} is gone or has moved, or give one of the two another context"
    )


def _sentences(invalid: Invalid) -> str:
    return "; ".join(map(str, invalid.mistakes))
