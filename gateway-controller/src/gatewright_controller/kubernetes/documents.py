"""Brings the documents of a translation into the store: whole, but for those that are refused.

A document that is refused leaves what is stored by its name as it is, with the reason; the others go on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec
from gatewright_documents.mistake import Invalid, Mistake
from gatewright_documents.values import JsonObject

from gatewright_controller.apis.api_source import ApiSource
from gatewright_controller.gateway_api import Deployed
from gatewright_controller.nodes.deployment import Deployment
from gatewright_controller.nodes.node import ApiStatus, NodeStatus, together
from gatewright_controller.plans import ForeignError, Intent, Plans
from gatewright_controller.store import API, Author

log = logging.getLogger(__name__)
OWNER = "kubernetes"
Name = tuple[str, str]
"""Kind and name of a document."""


class _Set(msgspec.Struct):
    """What is tried. refused: with its reason. keeps: those of the refused ones of which the store's version stays."""

    documents: dict[Name, JsonObject]
    refused: dict[Name, str] = msgspec.field(default_factory=dict)
    keeps: set[Name] = msgspec.field(default_factory=set)

    def refuse(self, name: Name, reason: str) -> bool:
        """Leaves it out; what is stored of it goes too, if that is what was refused. Whether anything changes."""
        if name not in self.refused:
            self.refused[name] = reason
            self.keeps.add(name)
            return True
        if name in self.keeps:
            self.keeps.remove(name)
            return True
        return False

    def refuse_all(self, faults: Iterable[tuple[Name, str]]) -> bool:
        """Whether any of them changes anything."""
        return True in [self.refuse(name, reason) for name, reason in faults]

    def sources(self) -> list[ApiSource]:
        """Of the documents that are tried."""
        return [
            ApiSource(_file(name), msgspec.json.format(msgspec.json.encode(document)))
            for name, document in self.documents.items()
            if name not in self.refused
        ]


class DocumentsError(Exception):
    """Nothing could be stored, and no document is at fault alone."""


class Documents:
    """Of one controller."""

    def __init__(self, plans: Plans, deployment: Deployment) -> None:
        self._plans, self._deployment = plans, deployment
        self.refused: Mapping[Name, str] = {}
        """Of the last time."""

    async def apply(self, documents: Iterable[JsonObject], author: Author, check: Callable[[], None]) -> None:
        """All that can be. check: raises where nothing may be written any more; it is asked before each
        try. Raises `DocumentsError`, `StorageError`."""
        tried = _Set({name_of(document): document for document in documents})
        while True:
            check()
            intent = Intent(OWNER, prune=True, keeps=tuple(sorted(tried.keeps)))
            try:
                await self._plans.apply(tried.sources(), intent, author)
            except Invalid as invalid:
                if not tried.refuse_all(_faults(tried, invalid.mistakes)):
                    raise DocumentsError(str(invalid)) from None
            except ForeignError as error:
                faults = [((kind, name), _foreign(owner)) for kind, name, owner in error.resources]
                if not tried.refuse_all(faults):
                    raise DocumentsError(str(error)) from None
            else:
                self._log(tried.refused)
                self.refused = tried.refused
                return

    def deployed(self, documents: Iterable[JsonObject]) -> dict[str, Deployed]:
        """What has become of each at the nodes, by name, as far as they are connected to this controller."""
        return {name[1]: self._deployed(name) for name in map(name_of, documents)}

    def unanswered(self, documents: Iterable[JsonObject]) -> set[str]:
        """The names of those of which no connected node has said whether it runs them, and one may yet."""
        valid = [name for name in map(name_of, documents) if name not in self.refused]
        statuses = {name[1]: self._status(name) for name in valid}
        return {
            name
            for name, status in statuses.items()
            if status.state == "pending" and all(found.state == "pending" for found in status.nodes)
        }

    def _deployed(self, name: Name) -> Deployed:
        if reason := self.refused.get(name):
            return Deployed("rejected", reason)
        status = self._status(name)
        settled = tuple(found for found in status.nodes if not self._is_starting(found))
        if any(found.state == "deployed" for found in settled):
            status = together(settled)
        return Deployed(status.state, status.reason)

    def _status(self, name: Name) -> ApiStatus:
        kind, text = name
        return self._deployment.status(text) if kind == API else self._deployment.node_gateway_status(text)

    def _is_starting(self, found: NodeStatus) -> bool:
        """Whether the node is a new one that has nothing yet: it is not ready, and no request reaches it."""
        node = self._deployment.nodes[found.node]
        return found.state == "pending" and not node.applied and self._deployment.gateway_on(node).state == "pending"

    def _log(self, refused: Mapping[Name, str]) -> None:
        for name, reason in refused.items():
            if self.refused.get(name) != reason:
                log.error("a document of Gateway API is refused", extra={"document": _file(name), "reason": reason})


def name_of(document: JsonObject) -> Name:
    """Kind and name."""
    return document["kind"], document["metadata"]["name"]


def _file(name: Name) -> str:
    return f"{'/'.join(name)}.json"


def _foreign(owner: str) -> str:
    return f"{owner or 'no owner'} has a resource of this name; delete it, or give it another name"


def _faults(tried: _Set, mistakes: Sequence[Mistake]) -> list[tuple[Name, str]]:
    """Each document that a mistake is of, by its file, else that it names, with all that is said of it."""
    found: dict[Name, list[str]] = {}
    by_file = {_file(name): name for name in tried.documents}
    for mistake in mistakes:
        file, _, line = mistake.file.rpartition(":")
        name = by_file.get(file if line.isdecimal() else mistake.file)
        named = [name] if name else [name for name in tried.documents if name[1] in str(mistake)]
        for faulty in named:
            found.setdefault(faulty, []).append(str(mistake))
    return [(name, "; ".join(sentences)) for name, sentences in found.items()]
