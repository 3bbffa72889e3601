"""The resources of a set of documents, valid together: all mistakes of all of them at once, with files and lines."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

import msgspec
from gatewright_documents.mistake import Invalid, Mistake, listed, shown, without_values
from gatewright_documents.values import JsonObject

from gatewright_controller import kinds
from gatewright_controller.apis.api_source import ApiSource
from gatewright_controller.kinds import Kind
from gatewright_controller.model import Api, from_document, without_written_defaults
from gatewright_controller.plans.plan import Conflict, WantedApi
from gatewright_controller.plans.planner import means_the_same
from gatewright_controller.resource.claims import NODES_SHARE_CONTEXTS, NODES_SHARE_NAMES
from gatewright_controller.resource.definitions import Definitions, UnknownPolicyError
from gatewright_controller.resource.hosts import EVERY_HOST
from gatewright_controller.resource.secrets import restored
from gatewright_controller.resource.versions import newest_versions
from gatewright_controller.store import StoredApi

API, GATEWAY = "Api", "Gateway"
KINDS = {kind.name: kind for kind in kinds.KINDS}
Validate = Callable[[JsonObject], Api]
"""The API that a document says. Raises `Invalid`."""


class Documents(msgspec.Struct):
    """What could be read of a set. mistakes: of what could not."""

    apis: list[tuple[ApiSource, JsonObject]] = msgspec.field(default_factory=list)
    gateway: tuple[ApiSource, JsonObject] | None = None
    others: dict[tuple[str, str], tuple[ApiSource, JsonObject]] = msgspec.field(default_factory=dict)
    """Of other kinds, by kind and name."""
    mistakes: list[Mistake] = msgspec.field(default_factory=list)

    def first_of(self, kinds: Collection[str]) -> tuple[str, str] | None:
        """Kind and name of the first document of these kinds, APIs before others; None where there is none."""
        apis = ((API, name_of(document) or "") for _, document in self.apis)
        return next((key for key in (*apis, *self.others) if key[0] in kinds), None)


def read_documents(sources: Iterable[ApiSource]) -> Documents:
    """Each source has one document. It may take a while: not for the event loop."""
    documents = Documents()
    files: dict[str, str] = {}
    for source in sources:
        try:
            document = source.read()
            with source.locating():
                _add(documents, source, document, files)
        except Invalid as invalid:
            shown_mistakes = without_values(invalid) if _may_hide_values(source) else invalid
            documents.mistakes += shown_mistakes.mistakes
    return documents


def _may_hide_values(source: ApiSource) -> bool:
    """Whether it looks like a document of a kind whose values no mistake may show, though it cannot be read."""
    return any(kind.hides_values and kind.name.encode() in source.text for kind in KINDS.values())


def _add(documents: Documents, source: ApiSource, document: JsonObject, files: dict[str, str]) -> None:
    """files: where the APIs before stand, by name. Raises `Invalid` where it does not fit those before."""
    if document.get("kind") == GATEWAY:
        if documents.gateway:
            raise Invalid([Mistake.expecting("one Gateway", f"another in {documents.gateway[0].file}", field="kind")])
        documents.gateway = (source, document)
        return
    if (kind := KINDS.get(str(document.get("kind")))) is not None:
        _add_other(documents, kind, (source, document))
        return
    if document.get("kind") != API:
        known = listed([repr(name) for name in (API, GATEWAY, *KINDS)])
        raise Invalid([Mistake.expecting(known, shown(document.get("kind")), field="kind")])
    name = name_of(document)
    if name in files:
        raise Invalid([Mistake("metadata.name", f"expected each API once, got {name!r}, which {files[name]} has too")])
    if name is not None:
        files[name] = source.file
    documents.apis.append((source, document))


def _add_other(documents: Documents, kind: type[Kind], sourced: tuple[ApiSource, JsonObject]) -> None:
    """Raises `Invalid`."""
    source, document = sourced
    if mistakes := list(kind.mistakes(document)):
        raise Invalid(mistakes)
    document = kind.filled(document, source.values)
    key = kind.name, name_of(document) or ""
    if key in documents.others:
        other = documents.others[key][0].file
        expected = f"each {kind.name} once"
        raise Invalid([Mistake.expecting(expected, f"{key[1]!r}, which {other} has too", field="metadata.name")])
    documents.others[key] = source, document


def wanted_apis(
    documents: Documents, stored: Mapping[str, StoredApi], definitions: Definitions, validate: Validate
) -> list[WantedApi]:
    """Those of the documents. One that says what is stored is not validated again: it was, when it was written, and if
    the build does not fit it any more its status says so.

    Raises `Invalid` with the mistakes of all, and those that the documents have already.
    """
    wanted: list[WantedApi] = []
    mistakes = list(documents.mistakes)
    for source, document in documents.apis:
        try:
            before = stored.get(name_of(document) or "")
            wanted.append(wanted_api(source, document, before, definitions, validate))
        except Invalid as invalid:
            mistakes += invalid.mistakes
    if mistakes:
        raise Invalid(mistakes)
    return wanted


def wanted_api(
    source: ApiSource, document: JsonObject, before: StoredApi | None, definitions: Definitions, validate: Validate
) -> WantedApi:
    """As `wanted_apis`, of one document. before: the API that is stored by its name."""
    filled = restored(document, before.api, definitions) if before else document
    if before and (same := _unchanged(filled, before, definitions)):
        return same
    with source.locating():
        api = without_written_defaults(validate(filled))
        return WantedApi(api, newest_versions(api, definitions))


def _unchanged(document: JsonObject, before: StoredApi, definitions: Definitions) -> WantedApi | None:
    try:
        api = from_document(document)
        versions = newest_versions(api, definitions)
    except (msgspec.ValidationError, UnknownPolicyError):
        return None
    return WantedApi(before.api, versions) if means_the_same(before.api, api) and versions == before.versions else None


def conflict_mistakes(documents: Documents, conflicts: Sequence[Conflict]) -> Iterator[Mistake]:
    """Each with the file and the line of the context, or the names, of which one is taken."""
    sources = {name_of(document): source for source, document in documents.apis}
    for conflict in conflicts:
        try:
            with sources[conflict.name].locating():
                raise Invalid([_conflict_mistake(conflict)])
        except Invalid as invalid:
            yield from invalid.mistakes


def _conflict_mistake(conflict: Conflict) -> Mistake:
    if conflict.claim.is_name:
        return _name_mistake(conflict)
    claim = conflict.claim
    where = "" if claim.host == EVERY_HOST else f" on the host {claim.host!r}"
    holder = f"{claim.context!r}, which {conflict.winner} has"
    if not conflict.since:
        cure = NODES_SHARE_CONTEXTS if conflict.chooses_nodes else "give one of the two another context"
        return Mistake.expecting(f"a context that no other API has{where}", f"{holder} too", cure, field="spec.context")
    owner = f"owner {conflict.owner}" if conflict.owner else "no owner"
    cure = f"choose another context, or change or delete {conflict.winner} first"
    if conflict.chooses_nodes:
        cure = f"{cure}; {NODES_SHARE_CONTEXTS}"
    if conflict.may_be_renamed:
        prune = (
            f"prune with the owner {conflict.owner}" if conflict.owner else "delete it first: it has no owner to prune"
        )
        cure = f"if {conflict.winner} is to be renamed to {conflict.name}, {prune}"
    got = f"{holder}, written {conflict.since}, {owner}"
    return Mistake.expecting(f"a context that no other API has{where}", got, cure, field="spec.context")


def _name_mistake(conflict: Conflict) -> Mistake:
    """Of a name of `attachTo`."""
    holder = f"{conflict.claim.context!r}, which {conflict.winner} has"
    if not conflict.since:
        got, cure = f"{holder} too", "take it from one of the two"
    else:
        owner = f"owner {conflict.owner}" if conflict.owner else "no owner"
        got = f"{holder}, written {conflict.since}, {owner}"
        cure = f"choose another name, or take it from {conflict.winner}, or delete that, first"
    if conflict.chooses_nodes:
        cure = f"{cure}; {NODES_SHARE_NAMES}"
    return Mistake.expecting("names that no other API has", got, cure, field="spec.attachTo")


def name_of(document: JsonObject) -> str | None:
    """The resource's name, as far as it can be read."""
    metadata = document.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    return name if isinstance(name, str) else None
