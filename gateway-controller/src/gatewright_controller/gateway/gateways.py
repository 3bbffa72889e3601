"""What nodes are to listen on: a file's Gateway, or one that was written by the management API and is kept.

The file that the controller is started with is an effective document (`gateway_file`), with the operator's gateway.yaml
in it or without. With one, that is all; without, what was written takes its place.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import msgspec
from gatewright_documents.mistake import Invalid, Mistake, format_path, shown
from gatewright_documents.values import JsonObject, JsonValue
from msgspec import UNSET

from gatewright_controller.acme.certificates import AcmeCertificates, wanted_by
from gatewright_controller.gateway.gateway_diff import diff_of_gateways
from gatewright_controller.gateway.gateway_file import read_effective
from gatewright_controller.gateway.gateway_masks import unmasked_gateway
from gatewright_controller.model import Gateway, GatewaySpec, gateway_from_document, gateway_to_document
from gatewright_controller.model.settings_fields import settings_fields
from gatewright_controller.nodes.deployment import Deployment
from gatewright_controller.store import (
    ANY_TERMS,
    GATEWAY,
    THE_GATEWAY,
    UNKNOWN,
    Author,
    Entry,
    PastResource,
    StorageError,
    Store,
    StoredGateway,
    Terms,
    kept_document,
    refuse,
)
from gatewright_controller.store.finished import finished
from gatewright_controller.translate import translate_gateway, translate_listener
from gatewright_controller.validation import GatewayNames
from gatewright_controller.validation.gateway import validate_gateway
from gatewright_controller.validation.known_gateways import KnownGateways, names_in

log = logging.getLogger(__name__)
Origin = Literal["file", "run", "api"]


class NoGatewayError(LookupError):
    """The controller has no Gateway: each node listens on what it has by itself."""


class GatewayOfFileError(Exception):
    """The Gateway is a file's, which is named: it is changed there."""


class CurrentGateway(msgspec.Struct, frozen=True):
    """origin: gateway.yaml ("file"), the options of a run without one ("run"), or the management API ("api")."""

    document: JsonObject
    origin: Origin
    stored: StoredGateway | None = None


class GatewayChange(msgspec.Struct, frozen=True):
    """What another Gateway means: listeners by name, and the fields that wait for a restart. Connections of listeners
    that are changed or removed are drained; those of all others go on."""

    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]
    restart: tuple[str, ...]


class Gateways:
    """One for each controller. file: an effective document; None: there is none. Raises `Invalid` for a wrong one.

    acme: obtains certificates; None: by this controller none are.
    """

    def __init__(
        self, store: Store, deployment: Deployment, file: Path | None, acme: AcmeCertificates | None = None
    ) -> None:
        self._acme = acme
        self._store, self._deployment, self._file = store, deployment, file
        self._started = self._written = read_effective(file) if file else None
        self._writing = asyncio.Lock()
        self.node_gateways: Callable[[], KnownGateways] = KnownGateways
        """Those that take the Gateway's place at some nodes."""
        self._logged_digest = ""  # of the Gateway that was logged last
        self._current = self._chosen(self._written, store.gateway())

    def load(self) -> None:
        """Hands it to the nodes. A file's may have changed while no controller ran: then its history has that."""
        self._record(UNKNOWN)
        self._offer()

    def names(self) -> GatewayNames | None:
        """What the current Gateway names; None where there is none."""
        return names_in(self._current.document) if self._current else None

    @property
    def current(self) -> CurrentGateway:
        """Raises `NoGatewayError`."""
        if self._current is None:
            raise NoGatewayError
        return self._current

    @property
    def current_document(self) -> JsonObject | None:
        """The current Gateway's, None where each node listens on what it has by itself."""
        return self._current.document if self._current else None

    def restart(self) -> tuple[str, ...]:
        """The fields that wait for a restart."""
        return _restart(self._started, self._current.document) if self._current and self._started else ()

    async def replace(self, document: JsonObject, terms: Terms = ANY_TERMS, *, dry_run: bool = False) -> GatewayChange:
        """Raises `GatewayOfFileError`, `Invalid`: with what Envoy cannot change in place, too; `OtherRevisionError`,
        `OtherOwnerError`."""
        return await finished(self._replace(document, None, terms, dry_run))

    async def roll_back(self, revision: int, terms: Terms = ANY_TERMS, *, dry_run: bool = False) -> GatewayChange:
        """The Gateway as the write of that revision left it. Raises as `replace`, and `NoSuchRevisionError`."""
        past = await self.past(revision)
        return await finished(self._replace(kept_document(past), past, terms, dry_run))

    async def _replace(
        self, document: JsonObject, past: PastResource | None, terms: Terms, dry_run: bool
    ) -> GatewayChange:
        async with self._writing:
            self._refuse_of_file()
            await self.read_again()
            refuse(GATEWAY, THE_GATEWAY, self._current.stored if self._current else None, terms)
            written = self.checked(document)
            await self._refuse_unnamed(written)
            change = self.change(written)
            if not dry_run:
                await self.prepare(written)
                stored = await asyncio.to_thread(self._store.put_gateway, written, terms, past)
                self.adopt(stored)
            return change

    @property
    def writing(self) -> asyncio.Lock:
        """Held while the Gateway is written; where APIs are written with it, before theirs."""
        return self._writing

    def checked(self, document: JsonObject) -> JsonObject:
        """The Gateway that the document says, valid, with the secrets of the current one where it has their masks.

        Raises `GatewayOfFileError`, `Invalid`: with what Envoy cannot change in place, too.
        """
        self._refuse_of_file()
        document = unmasked_gateway(document, self._current.document if self._current else {})
        written = gateway_to_document(validate_gateway(document))
        if self._started:
            _refuse_restart(self._started, written)
        return written

    def without_stored(self) -> JsonObject | None:
        """What would be current if none were stored."""
        chosen = self._chosen(self._written, None)
        return chosen.document if chosen else None

    def adopt(self, stored: StoredGateway | None) -> None:
        """What has been stored is current from now on, or what there is without one."""
        self._current = CurrentGateway(stored.document, "api", stored) if stored else self._chosen(self._written, None)
        self._offer()

    async def read_again(self) -> None:
        """What another controller has stored meanwhile takes the place of what was. The caller holds `writing`."""
        await self.follow(await asyncio.to_thread(self._store.gateway))

    async def follow(self, stored: StoredGateway | None) -> None:
        """The same of what was read already."""
        current = self._current
        if (stored and stored.revision) == (current and current.stored and current.stored.revision):
            return
        self._current = self._chosen(self._written, stored)
        if self._current and self._acme:
            await self._acme.prepare(wanted_by(gateway_from_document(self._current.document)))
        self._offer()

    def _refuse_of_file(self) -> None:
        """Raises `GatewayOfFileError`."""
        if self._written and (source := _source(self._written)):
            raise GatewayOfFileError(source)

    async def delete(self, terms: Terms = ANY_TERMS) -> None:
        """What was written is forgotten; the file's takes its place. Raises `NoGatewayError`, `Invalid`,
        `OtherRevisionError`, `OtherOwnerError`."""
        await finished(self._delete(terms))

    async def _delete(self, terms: Terms) -> None:
        async with self._writing:
            chosen = self._chosen(self._written, None)
            if chosen:
                await self._refuse_unnamed(chosen.document)
            if await asyncio.to_thread(self._store.delete_gateway, terms) is None:
                raise NoGatewayError
            self._current = chosen
            if self._current:
                await self.prepare(self._current.document)
            self._offer()

    async def reload(self, author: Author = UNKNOWN, *, dry_run: bool = False) -> GatewayChange:
        """Reads the file again; its history has who asked for that. Raises `NoGatewayError` where there is none,
        `Invalid`."""
        return await finished(self._reload(author, dry_run))

    async def _reload(self, author: Author, dry_run: bool) -> GatewayChange:
        async with self._writing:
            if self._file is None:
                raise NoGatewayError
            written = await asyncio.to_thread(read_effective, self._file)
            chosen = self._chosen(written, await asyncio.to_thread(self._store.gateway))
            assert chosen is not None
            await self._refuse_unnamed(chosen.document)
            change = self.change(chosen.document)
            if not dry_run:
                await self.prepare(chosen.document)
                self._written, self._current = written, chosen
                await asyncio.to_thread(self._record, author)
                self._offer()
            return change

    async def history(self, before: int | None, limit: int) -> Sequence[Entry]:
        """The newest first; those older than the revision `before`. Raises `NoGatewayError`: none was ever written."""
        entries = await asyncio.to_thread(self._store.history, GATEWAY, THE_GATEWAY, before, limit)
        if not entries and not await asyncio.to_thread(self._store.history, GATEWAY, THE_GATEWAY, None, 1):
            raise NoGatewayError
        return entries

    async def past(self, revision: int) -> PastResource:
        """The Gateway as that write left it: `Store.at`. Raises `NoSuchRevisionError`."""
        return await asyncio.to_thread(self._store.at, GATEWAY, THE_GATEWAY, revision)

    async def diff(self, before: PastResource, after: PastResource) -> str:
        """Unified, of the YAML that is shown of both, without secrets."""
        return await asyncio.to_thread(diff_of_gateways, before, after)

    def _record(self, author: Author) -> None:
        """The history has the Gateway of a file, too. It is not kept from nodes where that cannot be stored."""
        if self._current is None or self._current.origin != "file":
            return
        source = _source(self._current.document)
        reason = author.reason or f"asked for by {author.actor} {author.origin}".rstrip() if author != UNKNOWN else ""
        try:
            self._store.record_gateway(self._current.document, Author("file", source, reason))
        except StorageError as error:
            log.error("the Gateway's history lacks what its file has", extra={"reason": str(error)})

    def _chosen(self, written: JsonObject | None, stored: StoredGateway | None) -> CurrentGateway | None:
        if written and _source(written):
            return CurrentGateway(written, "file")
        if stored and _is_still_valid(stored):
            return CurrentGateway(stored.document, "api", stored)
        return CurrentGateway(written, "run") if written else None

    def certificates(self) -> dict[str, JsonObject]:
        """How the certificates are that are obtained by ACME, by name: `AcmeCertificates.status`."""
        return self._acme.status() if self._acme else {}

    async def prepare(self, document: JsonObject) -> None:
        """Nodes take a Gateway whose certificates are there. Raises `Invalid` where no one is set to obtain them."""
        asked = wanted_by(gateway_from_document(document))
        if self._acme:
            await self._acme.prepare(asked)
        elif asked:
            cure = "start the controller with --challenges-listen and --peers, or name files"
            fields = [format_path(["spec", "certificates", name, "acme"]) for name in asked]
            expected = "a controller that obtains certificates"
            raise Invalid([Mistake.expecting(expected, "one without", cure, field=field) for field in fields])

    async def _refuse_unnamed(self, document: JsonObject) -> None:
        """APIs go on naming what they name. Raises `Invalid`."""
        stored = await asyncio.to_thread(self._store.list)
        known, before = (self.node_gateways().with_default(names) for names in (names_in(document), self.names()))
        if mistakes := known.newly_unnamed(before, (api.api for api in stored)):
            raise Invalid(mistakes)

    def _offer(self) -> None:
        """Hands the current Gateway to nodes. The store is not asked: it has the write already, and may be away now."""
        stored = self._current.stored if self._current else None
        gateway = gateway_from_document(self._current.document) if self._current else None
        folder = {"obtained": self._acme.folder} if self._acme else {}
        message = translate_gateway(gateway, **folder) if gateway else None
        self._deployment.set_gateway(message, stored.revision if stored else 0)
        if self._acme:
            self._acme.want(gateway)
        if message and message.digest != self._logged_digest:
            self._logged_digest = message.digest
            log.info("Gateway set", extra={"digest": message.digest[:12], "restart": list(self.restart())})

    def change(self, document: JsonObject | None) -> GatewayChange:
        """What it means to have this Gateway in the place of the current one."""
        before = listeners_of(self._current.document if self._current else None)
        after = listeners_of(document)
        return GatewayChange(
            added=tuple(sorted(after.keys() - before.keys())),
            changed=tuple(sorted(name for name in before.keys() & after.keys() if before[name] != after[name])),
            removed=tuple(sorted(before.keys() - after.keys())),
            restart=_restart(self._started, document) if self._started and document else (),
        )


def _is_still_valid(stored: StoredGateway) -> bool:
    """A release may refuse what one before it took."""
    try:
        validate_gateway(stored.document)
    except Invalid as invalid:
        log.error("the stored Gateway is no longer valid and is not used", extra={"reason": str(invalid)})
        return False
    return True


def _source(document: JsonObject) -> str:
    source: str = gateway_from_document(document).metadata.source
    return source


def listeners_of(document: JsonObject | None) -> dict[str, list[bytes]]:
    """What a Gateway makes of each of its listeners, by name; of none: nothing."""
    if document is None:
        return {}
    spec = gateway_from_document(document).spec
    return {listener.name: translate_listener(listener, spec) for listener in spec.listeners}


def _restart(started: JsonObject, document: JsonObject) -> tuple[str, ...]:
    return tuple(format_path(path) for path, _, _ in _bootstrap_changes(started, document))


def _bootstrap_changes(
    started: JsonObject, document: JsonObject
) -> Iterator[tuple[tuple[str, ...], JsonValue, JsonValue]]:
    before, after = gateway_from_document(started), gateway_from_document(document)
    for path in restart_paths():
        old, new = _at(before, path), _at(after, path)
        if old != new:
            yield path, old, new


@functools.cache
def restart_paths() -> tuple[tuple[str, ...], ...]:
    """The fields that stand in Envoy's bootstrap. Cached, since it evaluates the annotations of all structs."""
    return tuple(field.path for field in settings_fields(GatewaySpec, ("spec",)) if field.restart)


def _at(gateway: Gateway, path: tuple[str, ...]) -> JsonValue:
    value: JsonValue = gateway_to_document(gateway)
    for step in path:
        value = value.get(step, UNSET) if isinstance(value, dict) else UNSET
    return None if value is UNSET else value


def _refuse_restart(started: JsonObject, document: JsonObject) -> None:
    mistakes = [
        Mistake.expecting(
            f"{'none' if old is None else shown(old)}, as the node was started with",
            "none" if new is None else shown(new),
            "it is part of Envoy's bootstrap: write it in gateway.yaml and restart the node",
            field=format_path(path),
        )
        for path, old, new in _bootstrap_changes(started, document)
    ]
    if mistakes:
        raise Invalid(mistakes)


def restart_mistakes(document: JsonObject) -> Iterator[Mistake]:
    """What a Gateway says that stands in Envoy's bootstrap, where nothing may: no node is started with it."""
    gateway = gateway_from_document(document)
    for path in restart_paths():
        if (value := _at(gateway, path)) is not None:
            cure = "it is part of Envoy's bootstrap: write it in the gateway.yaml that the node is started with"
            yield Mistake.expecting("none", shown(value), cure, field=format_path(path))
