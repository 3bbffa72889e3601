"""Defaults: what APIs get beside what they say. A write of some changes all APIs that they fit, together."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import ClassVar

import msgspec
from gatewright_documents.mistake import Invalid, Mistake, format_path
from gatewright_documents.values import JsonObject
from msgspec import UNSET

from gatewright_controller.access import Right
from gatewright_controller.apis.controller import Controller
from gatewright_controller.kinds.kind import Kept, Kind, ResourceUser
from gatewright_controller.model import Api, Defaults, PolicyAttachment, defaults_from_document
from gatewright_controller.model.defaults import AddedPolicies, Selection
from gatewright_controller.resource.definitions import Definitions, UnknownPolicyError
from gatewright_controller.resource.effective import in_order
from gatewright_controller.resource.hosts import HostSyntaxError, check_host
from gatewright_controller.resource.known_defaults import KnownDefaults, with_documents
from gatewright_controller.resource.secrets import mask_paths
from gatewright_controller.store import API, DEFAULTS, StoredResource

PROBE: JsonObject = {
    "apiVersion": "gatewright.dev/v1",
    "kind": "Api",
    "metadata": {"name": "probe"},
    "spec": {
        "version": "v1",
        "context": "/probe",
        "upstream": {"main": {"url": "http://probe.invalid"}},
        "operations": [{"method": "GET", "path": "/"}],
    },
}
"""An API that says nothing of what Defaults may say."""


class DefaultsKind(Kind):
    """controller: of the APIs that get them."""

    name = DEFAULTS
    plural = "defaults"
    model = Defaults
    read: ClassVar[Right] = "defaults:read"
    write: ClassVar[Right] = "defaults:write"

    def __init__(self, controller: Controller) -> None:
        self._controller = controller

    @classmethod
    def mistakes(cls, document: JsonObject) -> Iterator[Mistake]:
        """Those of its structure, else of what it says by itself."""
        found = list(super().mistakes(document))
        yield from found or _own_mistakes(defaults_from_document(document))

    def keep(self, document: JsonObject, stored: JsonObject | None) -> JsonObject:
        """An API that says nothing else could run with it; what is there already is not looked at again."""
        kept = super().keep(document, stored)
        if kept != stored and (mistakes := self._wrong(defaults_from_document(kept))):
            raise Invalid(mistakes)
        return kept

    def _wrong(self, defaults: Defaults) -> list[Mistake]:
        """What keeps any API from running with them, by the fields of the Defaults."""
        if mistakes := list(_secret_mistakes(defaults, self._controller.definitions)):
            return mistakes
        name = defaults.metadata.name
        everywhere = msgspec.structs.replace(defaults, spec=msgspec.structs.replace(defaults.spec, selection=UNSET))
        try:
            self._controller.validate_alone(PROBE, None, None, {name: everywhere}, {})
        except Invalid as invalid:
            start = f"Defaults {name}: "
            return [replace(mistake, field=mistake.field.removeprefix(start)) for mistake in invalid.mistakes]
        return []

    def unfit(self, name: str, after: JsonObject | None, apis: Iterable[Api]) -> Iterator[Mistake]:
        """Of all APIs that they concern; what a rollback brings back may be wrong for any."""
        del apis
        if after and (mistakes := self._wrong(defaults_from_document(after))):
            yield from mistakes
            return
        controller = self._controller
        yield from controller.mistakes_with(self._with({name: after}), controller.store.list(), controller.secret_keys)

    def handing_out(self, documents: Kept) -> Sequence[Callable[[], None]]:
        return list(self._controller.offers_with(self._with(documents)).values())

    def used_by(self, stored: StoredResource) -> Iterable[ResourceUser]:
        """The APIs that get them."""
        defaults = [defaults_from_document(stored.document)]
        apis = self._controller.store.list()
        return [ResourceUser(API, found.name) for found in apis if in_order(found.api, defaults)]

    @property
    def adopted(self) -> Collection[str]:
        return self._controller.defaults.keys()

    def adopt(self, stored: StoredResource, revision: int) -> None:
        self._controller.adopt_defaults(self._with({stored.name: stored.document}), revision)

    def forget(self, name: str, revision: int) -> None:
        self._controller.adopt_defaults(self._with({name: None}), revision)

    def _with(self, documents: Kept) -> KnownDefaults:
        return with_documents(self._controller.defaults, documents)


def _own_mistakes(defaults: Defaults) -> Iterator[Mistake]:
    spec = defaults.spec
    for index, host in enumerate(spec.selection.hosts if isinstance(spec.selection, Selection) else ()):
        try:
            check_host(host)
        except HostSyntaxError as error:
            yield Mistake(f"spec.for.hosts[{index}]", str(error))
    fields = msgspec.to_builtins(spec)
    for index, name in enumerate(spec.enforced):
        if name not in fields:
            cure = "write it beside, or take its name out"
            expected = f"the name of a setting that spec has, such as {name}"
            yield Mistake.expecting(expected, f"{name}, which it has not", cure, field=f"spec.enforced[{index}]")


def _secret_mistakes(defaults: Defaults, definitions: Definitions) -> Iterator[Mistake]:
    """Defaults are shown as they are written, so that no secret may stand in them."""
    for field, attachment in _attachments(defaults):
        try:
            definition = definitions.resolve(attachment.name, attachment.version)
        except UnknownPolicyError:  # which is said with the others
            continue
        for path in mask_paths(definition.parameters.masked(attachment.params)):
            cure = "write a Secret, and name it here"
            where = format_path(path, f"{field}.params")
            yield Mistake.expecting("{secretRef: NAME/KEY}", "the secret itself", cure, field=where)


def _attachments(defaults: Defaults) -> Iterator[tuple[str, PolicyAttachment]]:
    policies = defaults.spec.policies
    if isinstance(policies, AddedPolicies):
        for place in ("before", "after"):
            for index, attachment in enumerate(getattr(policies, place)):
                yield f"spec.policies.{place}[{index}]", attachment
