"""Namespaces: contexts and hosts that APIs of one team alone may have."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from typing import ClassVar

from gatewright_documents.mistake import Invalid, Mistake
from gatewright_documents.values import JsonObject

from gatewright_controller.access import Right
from gatewright_controller.apis.controller import Controller
from gatewright_controller.kinds.kind import Kind, ResourceUser
from gatewright_controller.model import Api, Namespace, namespace_from_document
from gatewright_controller.resource.hosts import HostSyntaxError, check_host
from gatewright_controller.resource.namespaces import foreign_mistakes, lies_in, namespaces_with, shared_places
from gatewright_controller.store import API, NAMESPACE, StoredResource

EVERY_API = '"context":'
"""Stands in the JSON of each API."""


class NamespaceKind(Kind):
    """controller: of the APIs that lie in them."""

    name = NAMESPACE
    plural = "namespaces"
    model = Namespace
    read: ClassVar[Right] = "namespaces:read"
    write: ClassVar[Right] = "namespaces:write"

    def __init__(self, controller: Controller) -> None:
        self._controller = controller

    @classmethod
    def mistakes(cls, document: JsonObject) -> Iterator[Mistake]:
        """Those of its structure, else of what it says by itself."""
        found = list(super().mistakes(document))
        yield from found or _own_mistakes(namespace_from_document(document))

    def keep(self, document: JsonObject, stored: JsonObject | None) -> JsonObject:
        """No other Namespace has the same places."""
        kept = super().keep(document, stored)
        if mistakes := list(shared_places(namespace_from_document(kept), self._controller.namespaces)):
            raise Invalid(mistakes)
        return kept

    def users(self, name: str) -> str:
        """Any API may lie in it."""
        del name
        return EVERY_API

    def unfit(self, name: str, after: JsonObject | None, apis: Iterable[Api]) -> Iterator[Mistake]:
        """APIs that other teams have there, and other Namespaces."""
        if after:
            yield from shared_places(namespace_from_document(after), self._controller.namespaces)
        namespaces = namespaces_with(self._controller.namespaces, {name: after})
        for api in apis:
            for mistake in foreign_mistakes(api, namespaces):
                yield replace(mistake, field=f"API {api.metadata.name}: {mistake.field}")

    def used_by(self, stored: StoredResource) -> Iterable[ResourceUser]:
        """The APIs that lie in it."""
        namespaces, apis = self._controller.namespaces, self._controller.store.list()
        return [ResourceUser(API, found.name) for found in apis if lies_in(found.api, stored.name, namespaces)]

    def effects(self, name: str, before: JsonObject | None, after: JsonObject | None) -> Iterator[str]:
        del before
        if after is None:
            yield f"any team may publish what {name} had"
        else:
            yield f"APIs in {name} are written with its labels only; nothing changes for requests"

    @property
    def adopted(self) -> Collection[str]:
        return self._controller.namespaces.keys()

    def adopt(self, stored: StoredResource, revision: int) -> None:
        self._adopt(stored.name, stored.document, revision)

    def forget(self, name: str, revision: int) -> None:
        self._adopt(name, None, revision)

    def _adopt(self, name: str, document: JsonObject | None, revision: int) -> None:
        self._controller.namespaces = namespaces_with(self._controller.namespaces, {name: document})
        self._controller.deployment.advance(revision)


def _own_mistakes(namespace: Namespace) -> Iterator[Mistake]:
    if not namespace.spec.contexts and not namespace.spec.hosts:
        yield Mistake.expecting("contexts or hosts", "neither", "write contexts: [/payments]", field="spec")
    for index, host in enumerate(namespace.spec.hosts):
        try:
            check_host(host)
        except HostSyntaxError as error:
            yield Mistake(f"spec.hosts[{index}]", str(error))
