"""The resources of a set of documents, valid together: all mistakes of all of them at once, with files and lines."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
from gatewright_documents.mistake import Invalid, Mistake, shown
from gatewright_documents.values import JsonObject

from gatewright_controller.apis.api_source import ApiSource
from gatewright_controller.model import Api, from_document, without_written_defaults
from gatewright_controller.plans.plan import Conflict, WantedApi
from gatewright_controller.plans.planner import means_the_same
from gatewright_controller.resource.claims import NODES_SHARE_CONTEXTS
from gatewright_controller.resource.definitions import Definitions, UnknownPolicyError
from gatewright_controller.resource.hosts import EVERY_HOST
from gatewright_controller.resource.secrets import restored
from gatewright_controller.resource.versions import newest_versions
from gatewright_controller.store import StoredApi

API, GATEWAY = "Api", "Gateway"
Validate = Callable[[JsonObject], Api]
"""The API that a document says. Raises `Invalid`."""


@dataclass
class Documents:
    """What could be read of a set. mistakes: of what could not."""

    apis: list[tuple[ApiSource, JsonObject]] = field(default_factory=list)
    gateway: tuple[ApiSource, JsonObject] | None = None
    mistakes: list[Mistake] = field(default_factory=list)


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
            documents.mistakes += invalid.mistakes
    return documents


def _add(documents: Documents, source: ApiSource, document: JsonObject, files: dict[str, str]) -> None:
    """files: where the APIs before stand, by name. Raises `Invalid` where it does not fit those before."""
    if document.get("kind") == GATEWAY:
        if documents.gateway:
            raise Invalid([Mistake.expecting("one Gateway", f"another in {documents.gateway[0].file}", field="kind")])
        documents.gateway = (source, document)
        return
    if document.get("kind") != API:
        raise Invalid([Mistake.expecting("'Api' or 'Gateway'", shown(document.get("kind")), field="kind")])
    name = name_of(document)
    if name in files:
        raise Invalid([Mistake("metadata.name", f"expected each API once, got {name!r}, which {files[name]} has too")])
    if name is not None:
        files[name] = source.file
    documents.apis.append((source, document))


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
    """Each with the file and the line of the context that is taken."""
    sources = {name_of(document): source for source, document in documents.apis}
    for conflict in conflicts:
        try:
            with sources[conflict.name].locating():
                raise Invalid([_conflict_mistake(conflict)])
        except Invalid as invalid:
            yield from invalid.mistakes


def _conflict_mistake(conflict: Conflict) -> Mistake:
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


def name_of(document: JsonObject) -> str | None:
    """The resource's name, as far as it can be read."""
    metadata = document.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    return name if isinstance(name, str) else None
