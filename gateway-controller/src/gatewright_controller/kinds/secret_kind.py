"""Secrets: values that are kept encrypted, sent to the nodes whose APIs name them, and shown to no client."""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, ClassVar, Literal

from gatewright_documents.mistake import Invalid, Mistake, format_path
from gatewright_documents.secret_masks import MASK
from gatewright_documents.values import JsonObject, KeyPath
from msgspec import UNSET, UnsetType

from gatewright_controller._gen import node_pb2
from gatewright_controller.access import Right
from gatewright_controller.kinds.keyring import NO_KEY_CURE, Keyring, NoKeyError, WrongKeyError
from gatewright_controller.kinds.kind import Kind, KindStatus, ResourceUser
from gatewright_controller.model import Api, Secret
from gatewright_controller.nodes.deployment import Deployment
from gatewright_controller.resource.secret_keys import keys_by_secret
from gatewright_controller.store import API, SECRET, StoredResource, name_in

FILES = "spec", "valuesFromFiles"
NEW_VALUE, UNCOMPARED = "a new value", "perhaps a new value: none of the controller's keys fits"


class SecretStatus(KindStatus, frozen=True, kw_only=True):
    """What has become of a Secret."""

    state: Literal["readable", "unreadable"]
    """`unreadable`: none of the controller's keys decrypts it; nodes go on with the values that they have."""
    reason: str | UnsetType = UNSET
    used_by: list[str]
    """Names of the APIs that name it."""


class SecretKind(Kind):
    """deployment: of the nodes that get the values."""

    name = SECRET
    plural = "secrets"
    model = Secret
    read: ClassVar[Right] = "secrets:read"
    write: ClassVar[Right] = "secrets:write"
    status_shape = SecretStatus
    hides_values = True

    def __init__(self, keyring: Keyring, deployment: Deployment) -> None:
        self.keyring, self._deployment = keyring, deployment

    @classmethod
    def mistakes(cls, document: JsonObject) -> Iterator[Mistake]:
        """Those of its structure, else that it has no key, or one twice."""
        found = list(super().mistakes(document))
        yield from found
        spec: JsonObject = {} if found else document["spec"]
        values, files = spec.get("values", {}), spec.get("valuesFromFiles", {})
        if not found and not values and not files:
            yield Mistake.expecting("values with at least one key", "none", "write one", field="spec")
        for key in files.keys() & values.keys():
            field = format_path([*FILES, key])
            yield Mistake.expecting("each key once", f"{key} among values too", "leave one of the two out", field=field)

    @classmethod
    def filled(cls, document: JsonObject, values: Mapping[str, str]) -> JsonObject:
        files: JsonObject = document["spec"].get("valuesFromFiles", {})
        if mistakes := [_unread(key) for key in files if key not in values]:
            raise Invalid(mistakes)
        spec = {name: value for name, value in document["spec"].items() if name != "valuesFromFiles"}
        spec["values"] = {**spec.get("values", {}), **{key: values[key] for key in files}}
        whole = {**document, "spec": spec}
        if mistakes := list(cls.mistakes(whole)):
            raise Invalid(mistakes)
        return whole

    def keep(self, document: JsonObject, stored: JsonObject | None) -> JsonObject:
        """A value that is the stored one keeps its form, whether its mask or its text was written."""
        if files := document["spec"].get("valuesFromFiles"):
            raise Invalid(list(map(_unread, files)))
        kept = super().keep(document, stored)
        sealed, values = _values(stored) if stored else {}, _values(kept)
        mistakes = []
        for key, value in values.items():
            try:
                values[key] = self._sealed(_place(kept, key), value, sealed.get(key))
            except Invalid as invalid:
                mistakes += invalid.mistakes
        if mistakes:
            raise Invalid(mistakes)
        return kept

    def _sealed(self, place: str, value: str, stored: str | None) -> str:
        """Raises `Invalid`."""
        field = format_path(["spec", "values", place.partition("/")[2]])
        if value == MASK:
            if stored is None:
                got = f"{MASK}, its mask, and none is stored at this place"
                raise Invalid([Mistake.expecting("the value itself", got, "write the value", field=field)])
            return stored
        if stored is not None and self._opened(place, stored) == value:
            return stored
        try:
            return self.keyring.encrypt(value, place)
        except NoKeyError:
            expected = "a controller with a key that encrypts Secrets"
            raise Invalid([Mistake.expecting(expected, "one without", NO_KEY_CURE, field=field)]) from None

    def _opened(self, place: str, sealed: str) -> str | None:
        try:
            return self.keyring.decrypt(sealed, place)
        except WrongKeyError:
            return None

    def show(self, kept: JsonObject) -> JsonObject:
        shown = copy.deepcopy(kept)
        shown["spec"]["values"] = dict.fromkeys(_values(kept), MASK)
        return shown

    def changed(self, before: JsonObject, after: JsonObject) -> Mapping[KeyPath, str]:
        old, found = _values(before), dict[KeyPath, str]()
        for key, sealed in _values(after).items():
            if old.get(key) == sealed:
                continue
            values = [self._opened(_place(after, key), text) for text in (old.get(key), sealed) if text]
            if None in values:
                found["spec", "values", key] = UNCOMPARED
            elif len(set(values)) == 2 or key not in old:
                found["spec", "values", key] = NEW_VALUE
        return found

    def digest(self, document: JsonObject) -> str:
        """A plan's digest is shown: without the key it is no hash of a value that can be guessed."""
        return self.keyring.digest({"document": super().digest(document)})

    def status(self, stored: StoredResource) -> Mapping[str, Any]:
        users = sorted(self._deployment.secrets.users(stored.name))
        message = self._message(stored)
        if message.unavailable:
            return {"state": "unreadable", "reason": message.unavailable, "used_by": users}
        return {"state": "readable", "used_by": users}

    def effects(self, name: str, before: JsonObject | None, after: JsonObject | None) -> Iterator[str]:
        """Which APIs get other values, without a message to Envoy."""
        users = sorted(self._deployment.secrets.users(name))
        keys = [str(path[-1]) for path in self.changed(before, after)] if before and after else []
        if users and keys:
            yield f"policies of {', '.join(users)} get other values of {', '.join(keys)}; no request is lost"
        else:
            yield "no API that is served gets another value"

    def unfit(self, name: str, after: JsonObject | None, apis: Iterable[Api]) -> Iterator[Mistake]:
        left = _values(after) if after else {}
        for api in apis:
            for key in sorted(keys_by_secret(api).get(name, set()) - left.keys()):
                expected = f"the key {key} of {name}, which the API {api.metadata.name} names"
                cure = "keep it, or change the API first"
                yield Mistake.expecting(expected, "none", cure, field=format_path(["spec", "values", key]))

    def users(self, name: str) -> str:
        return f'"secretRef":"{name}/'

    def used_by(self, stored: StoredResource) -> Iterable[ResourceUser]:
        """The APIs that name it, by their Defaults, too."""
        return [ResourceUser(API, name) for name in self._deployment.secrets.users(stored.name)]

    @property
    def adopted(self) -> Collection[str]:
        return self._deployment.secrets.names

    def adopt(self, stored: StoredResource, revision: int) -> None:
        self._deployment.set_secret(self._message(stored), revision)

    def forget(self, name: str, revision: int) -> None:
        self._deployment.remove_secret(name, revision)

    def reencrypted(self, kept: JsonObject) -> JsonObject:
        """The same values by the first key; what no key decrypts stays as it is. Raises `NoKeyError`."""
        again = copy.deepcopy(kept)
        values = _values(again)
        for key, sealed in values.items():
            place = _place(kept, key)
            if not self.keyring.is_newest(sealed) and (value := self._opened(place, sealed)) is not None:
                values[key] = self.keyring.encrypt(value, place)
        return again

    def is_newest(self, kept: JsonObject) -> bool:
        """Whether the first key has encrypted all values."""
        return all(map(self.keyring.is_newest, _values(kept).values()))

    def _message(self, stored: StoredResource) -> node_pb2.SecretValues:
        """What nodes are sent."""
        sealed = _values(stored.document)
        try:
            values = {key: self.keyring.decrypt(text, _place(stored.document, key)) for key, text in sealed.items()}
        except WrongKeyError as error:
            reason = f"the controller cannot decrypt the Secret {stored.name}: {error}"
            return node_pb2.SecretValues(name=stored.name, unavailable=reason)
        return node_pb2.SecretValues(name=stored.name, version=self.keyring.digest(values), values=values)


def _unread(key: str) -> Mistake:
    cure = "apply the file by `gatewright apply`, which reads it, or write the value itself"
    return Mistake.expecting(
        "the content of this file beside the document", "none", cure, field=format_path([*FILES, key])
    )


def _values(document: JsonObject) -> dict[str, str]:
    values: dict[str, str] = document["spec"]["values"]
    return values


def _place(document: JsonObject, key: str) -> str:
    return f"{name_in(document)}/{key}"
