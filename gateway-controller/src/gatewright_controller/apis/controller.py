"""The controller's few verbs: what is written is valid, kept, translated and handed to the nodes, in this order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

import msgspec
from gatewright_documents.mistake import Invalid, Mistake
from gatewright_documents.values import JsonObject

from gatewright_controller.access import Permit
from gatewright_controller.apis.api_change import TriedWrite
from gatewright_controller.apis.api_source import ApiSource
from gatewright_controller.apis.past_apis import PastApi, decode_past, diff_of_past
from gatewright_controller.apis.prospect import Prospect, concerns, of_api
from gatewright_controller.model import Api, to_document
from gatewright_controller.nodes.deployment import Deployment
from gatewright_controller.resource.claims import Claim, claims_of_api
from gatewright_controller.resource.conditions import Conditions
from gatewright_controller.resource.definitions import DefinitionChanges, Definitions, definitions_of
from gatewright_controller.resource.effective import Effective, effective
from gatewright_controller.resource.known_defaults import KnownDefaults, changed_between, concern
from gatewright_controller.resource.namespaces import Namespaces, refuse_foreign
from gatewright_controller.resource.private_upstreams import PrivateUpstreams
from gatewright_controller.resource.secret_keys import keys_by_secret, keys_of
from gatewright_controller.resource.secrets import restored
from gatewright_controller.resource.versions import (
    Move,
    Versions,
    kept_versions,
    moves,
    newest_versions,
    with_exact_versions,
)
from gatewright_controller.store import (
    ANY_TERMS,
    API,
    SECRET,
    ApiExistsError,
    ContextTakenError,
    Entry,
    NoSuchApiError,
    OtherRevisionError,
    PastResource,
    StorageError,
    Store,
    StoredApi,
    Terms,
    kept_document,
    refuse,
)
from gatewright_controller.store.finished import finished
from gatewright_controller.translate import Bundle, EdgeSettings, translate, unserved
from gatewright_controller.validation import (
    NO_CONDITIONS,
    NO_PRIVATE_UPSTREAMS,
    SecretKeys,
    claimed_by,
    context_taken,
    names_private_upstream,
    validate,
)
from gatewright_controller.validation.known_gateways import GatewaysInUse, KnownGateways

log = logging.getLogger(__name__)
Prepare = Callable[[], tuple[Api, Versions, Bundle]]
"""Makes what a write stores, the versions of its policies and what nodes are handed."""
Write = Callable[[Api, Versions, Terms], StoredApi]
TRIES = 10
"""Of a write, while other controllers write the same API."""


class Controller:
    """Writes happen one after the other, so nodes hear of them in the order in which they were stored."""

    def __init__(
        self,
        store: Store,
        read_definitions: Callable[[], Definitions],
        edge: EdgeSettings,
        parse_definitions: Callable[[Mapping[str, bytes]], Definitions] = definitions_of,
        upstreams: PrivateUpstreams = NO_PRIVATE_UPSTREAMS,
        conditions: Conditions = NO_CONDITIONS,
    ) -> None:
        self.store = store
        self._read_definitions, self._parse_definitions = read_definitions, parse_definitions
        self.definitions = read_definitions()
        self.deployment = Deployment(store.revision, nodes_elsewhere=store.is_shared)
        self._edge, self._configured_upstreams, self.conditions = edge, upstreams, conditions
        self.defaults: KnownDefaults = {}
        """What APIs get beside what they say."""
        self.namespaces: Namespaces = {}
        """Whose some contexts and hosts are."""
        self.gateways = GatewaysInUse()
        """What APIs may name that are written from now on."""
        self._writing = asyncio.Lock()
        self._next_recheck: asyncio.Task[None] | None = None
        """That has not begun."""

    @property
    def upstreams(self) -> PrivateUpstreams:
        """What no API may name, the nodes' admin listeners among it."""
        return self._configured_upstreams.with_own(self.deployment.admin_addresses.values())

    @property
    def writing(self) -> asyncio.Lock:
        """Held while APIs are written, so that nodes hear of writes in the order in which they were stored."""
        return self._writing

    @property
    def edge(self) -> EdgeSettings:
        """What the operator decides for every API."""
        return self._edge

    def load(self) -> None:
        """Hands what is stored to the nodes. An API that this build's definitions no longer fit is suspended."""
        for stored in self.store.list():
            self.offer_of(stored)()

    def offer_of(self, stored: StoredApi, defaults: KnownDefaults | None = None) -> Callable[[], None]:
        """What hands the API to the nodes, or suspends it. That is for the event loop, all else for any thread.
        defaults: in the place of those that there are."""
        versions = kept_versions(stored.api, stored.versions, self.definitions)
        try:
            api = self._runnable(self.effective(stored.api, versions, defaults), self.definitions)
        except Invalid as invalid:
            log.error(
                "API suspended",
                extra={"api": stored.name, "reason": str(invalid)},
            )
            spec, reason = stored.api.spec, f"no longer valid: {invalid}"
            suspended = unserved(stored.name, stored.context, spec.version, reason, spec.hosts, spec.listeners)
            suspended = msgspec.structs.replace(
                suspended, nodes=spec.nodes, secrets=frozenset(keys_by_secret(stored.api))
            )
            return partial(self.deployment.suspend, suspended, stored.revision)
        self._move(stored, versions)
        return partial(self.deployment.set_desired, translate(api, self.definitions, self._edge), stored.revision)

    def effective(
        self,
        api: Api,
        versions: Versions,
        defaults: KnownDefaults | None = None,
        definitions: Definitions | None = None,
    ) -> Effective:
        """The API with the Defaults that fit it. defaults, definitions: in the place of those that there are."""
        known = self.defaults if defaults is None else defaults
        return effective(api, versions, known.values(), definitions or self.definitions)

    def _runnable(self, whole: Effective, definitions: Definitions, secrets: SecretKeys | None = None) -> Api:
        """What is translated. Raises `Invalid`, with the fields where each part was written."""
        document = to_document(with_exact_versions(whole.api, whole.versions))
        try:
            return validate(document, definitions, {}, self.upstreams, secrets=secrets)
        except Invalid as invalid:
            mistakes = [replace(mistake, field=whole.place(mistake.field)) for mistake in invalid.mistakes]
            raise Invalid(mistakes) from None

    def _refuse_with_defaults(
        self, api: Api, definitions: Definitions, secrets: SecretKeys | None, defaults: KnownDefaults | None = None
    ) -> None:
        """Raises `Invalid` where a valid API could not run with the Defaults that fit it."""
        if not (self.defaults if defaults is None else defaults):
            return
        whole = self.effective(api, newest_versions(api, definitions), defaults, definitions)
        if not whole.is_own:
            self._runnable(whole, definitions, secrets)

    def mistakes_with(
        self, defaults: KnownDefaults, apis: Iterable[StoredApi], secrets: SecretKeys
    ) -> Iterator[Mistake]:
        """What keeps these APIs from going on with other Defaults. One that does not run is left out."""
        changed = changed_between(self.defaults, defaults)
        for stored in apis:
            if self.deployment.is_suspended(stored.name) or not concern(changed, stored.api):
                continue
            versions = kept_versions(stored.api, stored.versions, self.definitions)
            try:
                self._runnable(self.effective(stored.api, versions, defaults), self.definitions, secrets)
            except Invalid as invalid:
                yield from (replace(found, field=f"API {stored.name}: {found.field}") for found in invalid.mistakes)

    def offers_with(self, defaults: KnownDefaults, without: Collection[str] = ()) -> dict[str, Callable[[], None]]:
        """`offer_of` the APIs that other Defaults concern, by name. without: those that are handed out otherwise."""
        changed = changed_between(self.defaults, defaults)
        return {
            stored.name: self.offer_of(stored, defaults)
            for stored in (self.store.list() if changed else ())
            if stored.name not in without and concern(changed, stored.api) and self._is_handed_out(stored)
        }

    def _is_handed_out(self, stored: StoredApi) -> bool:
        """Whether nodes have this write. Another controller's is handed out by `following`, with what came with it."""
        return stored.revision <= self.deployment.revision_of(stored.name)

    def adopt_defaults(self, defaults: KnownDefaults, revision: int) -> None:
        """APIs are translated with these from now on. revision: of the store."""
        self.defaults = defaults
        self.deployment.advance(revision)

    def apis_containing(self, text: str) -> list[Api]:
        """With their Defaults, those whose JSON, or whose Defaults', has this text."""
        is_default = any(text.encode() in msgspec.json.encode(defaults) for defaults in self.defaults.values())
        found = self.store.list(containing="" if is_default else text)
        return [self.effective(stored.api, stored.versions).api for stored in found]

    def _move(self, stored: StoredApi, versions: Versions) -> None:
        """Another start shall find the versions that run now, and not decide anew."""
        if versions == stored.versions:
            return
        for move in moves(stored.api, stored.versions, versions):
            log.warning("API uses another version of a policy, since the build no longer has the previous one", extra={
                "api": move.api, "field": move.field, "policy": move.policy, "before": move.before, "after": move.after,
            })  # fmt: skip
        try:
            self.store.move(stored.name, versions)
        except StorageError as error:
            log.error("versions of policies could not be stored", extra={"api": stored.name, "reason": str(error)})

    async def check_definitions(self, texts: Mapping[str, bytes], sources: Sequence[ApiSource] = ()) -> Prospect:
        """What it would mean to have these definitions, by the names of their files, and these APIs in the place of
        those that are stored by their names. Changes nothing.

        Raises `Invalid` where one of them is wrong, or where an API that can run now could not with them.
        """
        fresh = await asyncio.to_thread(self._parse_definitions, texts)
        async with self._writing:
            return await asyncio.to_thread(lambda: self._prospect(fresh, self.store.list(), sources))

    async def reload_definitions(self, sources: Sequence[ApiSource] = (), terms: Terms = ANY_TERMS) -> Prospect:
        """Reads the definitions again, stores these APIs, and hands out anew what both concern: in one step.

        Raises `Invalid` like `check_definitions`, `OtherOwnerError`, and then nothing has changed.
        """
        return await finished(self._reload_definitions(sources, terms))

    async def _reload_definitions(self, sources: Sequence[ApiSource], terms: Terms) -> Prospect:
        fresh = await asyncio.to_thread(self._read_definitions)
        async with self._writing:
            before = await asyncio.to_thread(lambda: self.store.revision)
            prospect, present, written = await asyncio.to_thread(self._stored_with, fresh, sources, terms)
            offers = await asyncio.to_thread(self._offers, prospect, present, written)
            for offer in offers:
                offer()
        changes = prospect.changes
        names = {"added": changes.added, "removed": changes.removed, "changed": changes.changed}
        log.info("definitions read again", extra=names)
        for stored in written:
            if stored.revision > before:
                log.info("API written", extra={"api": stored.name, "revision": stored.revision})
        return prospect

    def _stored_with(
        self, fresh: Definitions, sources: Sequence[ApiSource], terms: Terms
    ) -> tuple[Prospect, list[StoredApi], list[StoredApi]]:
        """The APIs that there were, and those of the sources, stored; from then on the definitions are these.

        The store is not asked again after that: if it failed, the APIs that the definitions concern would not be
        handed out.
        """
        present = self.store.list()
        prospect = self._prospect(fresh, present, sources)
        for api, versions in prospect.writes:
            self._bundle(self.effective(api, versions, None, fresh), fresh)  # before anything is stored
        try:
            written = self.store.write_all(prospect.writes, terms) if prospect.writes else []
        except ContextTakenError as error:  # by another controller, meanwhile
            raise Invalid([context_taken(error.host, error.context, error.api, chooses_nodes=False)]) from None
        self.definitions = fresh
        return prospect, present, written

    def _offers(
        self, prospect: Prospect, present: Iterable[StoredApi], written: Iterable[StoredApi]
    ) -> list[Callable[[], None]]:
        """Of what was written, and of all that the new definitions concern or that waits for them."""
        replaced = {stored.name: stored for stored in written}
        concerned = [
            stored
            for stored in present
            if stored.name not in replaced
            and self._is_handed_out(stored)
            and (stored.name in prospect.apis or self.deployment.is_suspended(stored.name))
        ]
        return [self.offer_of(stored) for stored in (*replaced.values(), *concerned)]

    def _prospect(
        self, fresh: Definitions, present: Iterable[StoredApi], sources: Sequence[ApiSource] = ()
    ) -> Prospect:
        changes = DefinitionChanges.between(self.definitions, fresh)
        writes, replaced, mistakes = self._writes_of(sources, fresh)
        moved: list[Move] = []
        concerned = [api.metadata.name for api, _ in writes]
        for stored in present:
            if stored.name in replaced or self.deployment.is_suspended(stored.name):
                continue
            versions = kept_versions(stored.api, stored.versions, fresh)
            before = self.effective(stored.api, stored.versions)
            after = self.effective(stored.api, versions, None, fresh)
            if not concerns(changes, before, after):
                continue
            concerned.append(stored.name)
            moved += moves(stored.api, stored.versions, versions)
            try:
                self._runnable(after, fresh)
            except Invalid as invalid:
                mistakes += [of_api(stored.name, mistake) for mistake in invalid.mistakes]
        if mistakes:
            raise Invalid(mistakes)
        return Prospect(changes, tuple(moved), tuple(concerned), tuple(writes))

    def _writes_of(
        self, sources: Sequence[ApiSource], fresh: Definitions
    ) -> tuple[list[tuple[Api, Versions]], set[str | None], list[Mistake]]:
        """What is written of the APIs of the sources, which stored ones they replace, and what is wrong with them."""
        documents: list[tuple[ApiSource, JsonObject]] = []
        mistakes: list[Mistake] = []
        for source in sources:
            try:
                documents.append((source, source.read()))
            except Invalid as invalid:
                mistakes += invalid.mistakes
        replaced = {_name_of(document) for _, document in documents}
        holders = self.store.holders(claim for _, document in documents for claim in claimed_by(document))
        claims = {claim: name for claim, name in holders.items() if name not in replaced}
        writes: dict[str, tuple[Api, Versions]] = {}
        for source, document in documents:
            try:
                with source.locating():
                    if (name := _name_of(document)) in writes:
                        raise Invalid([_stands_twice(name)])
                    api = self._validated(document, fresh, claims)
            except Invalid as invalid:
                mistakes += invalid.mistakes
                continue
            claims |= dict.fromkeys(claims_of_api(api), api.metadata.name)
            writes[api.metadata.name] = api, newest_versions(api, fresh)
        return list(writes.values()), replaced, mistakes

    def _validated(self, document: JsonObject, definitions: Definitions, claims: Mapping[Claim, str]) -> Api:
        """The API that is to be written, with the secrets that the stored one has where it has their masks."""
        document = self._with_secrets(document, definitions)
        gateways, secrets = self.gateways.known, self.secret_keys
        api = self._validated_alone(document, definitions, claims, gateways, secrets)
        refuse_foreign(api, self.namespaces)
        self._refuse_with_defaults(api, definitions, secrets)
        return api

    def validate_alone(
        self,
        document: JsonObject,
        gateways: KnownGateways | None,
        secrets: SecretKeys | None,
        defaults: KnownDefaults | None = None,
        namespaces: Namespaces | None = None,
    ) -> Api:
        """The API that a document of a set says; whether others claim the same is looked at by the set's reader.
        gateways, secrets, defaults, namespaces: what there is with the set. Raises `Invalid`."""
        api = self._validated_alone(document, self.definitions, {}, gateways, secrets)
        refuse_foreign(api, self.namespaces if namespaces is None else namespaces)
        self._refuse_with_defaults(api, self.definitions, secrets, defaults)
        return api

    def _validated_alone(
        self,
        document: JsonObject,
        definitions: Definitions,
        claims: Mapping[Claim, str],
        gateways: KnownGateways | None,
        secrets: SecretKeys | None,
    ) -> Api:
        upstreams, conditions = self.upstreams, self.conditions
        names = gateways.names_of(document) if gateways else None
        return validate(document, definitions, claims, upstreams, names, conditions, is_written=True, secrets=secrets)

    def secret_keys(self, name: str) -> Collection[str] | None:
        """The keys of a Secret; None where there is none."""
        stored = self.store.resource(SECRET, name)
        return keys_of(stored.document) if stored else None

    def refuse_others(self, api: Api, permit: Permit) -> None:
        """Raises `NotPermittedError` where the API may not be touched, or names a Secret that may not be: its values
        go to its policies, and by them to its upstream."""
        permit.refuse_others(api)
        for name in sorted(keys_by_secret(api)) if permit.apis is not None else ():
            if stored := self.store.resource(SECRET, name):
                permit.refuse_other_resources(SECRET, stored.document)

    def translate(self, api: Api, versions: Versions, defaults: KnownDefaults | None = None) -> Bundle:
        """What nodes are sent of the API, with these versions and the Defaults that fit it."""
        return self._bundle(self.effective(api, versions, defaults), self.definitions)

    def whole(self, api: Api, versions: Versions, defaults: KnownDefaults | None = None) -> Api:
        """What is translated: the API with the Defaults that fit it, and with exact versions."""
        found = self.effective(api, versions, defaults)
        return with_exact_versions(found.api, found.versions)

    def _bundle(self, whole: Effective, definitions: Definitions) -> Bundle:
        return translate(with_exact_versions(whole.api, whole.versions), definitions, self._edge)

    async def recheck_upstreams(self) -> None:
        """Suspends the APIs that name an admin listener which has moved there, and hands out those that name none any
        more. It reads all APIs: calls share one that has not begun, since after a start all nodes come at once."""
        if self._next_recheck is None:
            self._next_recheck = asyncio.create_task(self._recheck_upstreams())
        await asyncio.shield(self._next_recheck)

    async def _recheck_upstreams(self) -> None:
        async with self._writing:
            self._next_recheck = None
            for offer in await asyncio.to_thread(self._rechecked):
                offer()

    def _rechecked(self) -> list[Callable[[], None]]:
        upstreams = self.upstreams
        return [
            self.offer_of(stored)
            for stored in filter(self._is_handed_out, self.store.list())
            if self.deployment.is_suspended(stored.name) or names_private_upstream(stored.api, upstreams)
        ]

    async def create(self, document: JsonObject, terms: Terms = ANY_TERMS) -> StoredApi:
        """Raises `Invalid`, `ApiExistsError`."""
        prepare = partial(self._prepared, document, terms)
        return await finished(self._write(_name_of(document), prepare, self.store.create, terms))

    async def replace(self, document: JsonObject, terms: Terms = ANY_TERMS) -> StoredApi:
        """Raises `Invalid`, `NoSuchApiError`, `OtherRevisionError`, `OtherOwnerError`."""
        prepare = partial(self._prepared, document, terms)
        return await finished(self._write(_name_of(document), prepare, self.store.replace, terms))

    async def delete(self, name: str, terms: Terms = ANY_TERMS) -> None:
        """Raises `NoSuchApiError`, `OtherRevisionError`, `OtherOwnerError`."""
        await finished(self._delete(name, terms))

    async def roll_back(self, name: str, revision: int, terms: Terms = ANY_TERMS) -> StoredApi:
        """The API as it was, with the exact versions of policies that it had then, as far as the build has them. One
        that was deleted is there again. Raises as `replace`, and `NoSuchRevisionError`."""
        past = await asyncio.to_thread(self.store.at, API, name, revision)
        prepare, write = partial(self._prepared_past, past, terms), partial(self.store.roll_back, past)
        return await finished(self._write(name, prepare, write, terms))

    async def try_create(self, document: JsonObject, terms: Terms = ANY_TERMS) -> TriedWrite:
        """As `create`, and nothing is written. Raises the same."""
        tried = await self._tried(partial(self._prepared, document, terms))
        if tried.before:
            raise ApiExistsError(tried.before.name)
        return tried

    async def try_replace(self, document: JsonObject, terms: Terms = ANY_TERMS) -> TriedWrite:
        """As `replace`, and nothing is written. Raises the same."""
        tried = await self._tried(partial(self._prepared, document, terms))
        if not tried.before:
            raise NoSuchApiError(tried.api.metadata.name)
        return tried

    async def try_roll_back(self, name: str, revision: int, terms: Terms = ANY_TERMS) -> TriedWrite:
        """As `roll_back`, and nothing is written. Raises the same."""
        past = await asyncio.to_thread(self.store.at, API, name, revision)
        return await self._tried(partial(self._prepared_past, past, terms))

    async def get(self, name: str) -> StoredApi:
        """Raises `NoSuchApiError`."""
        return await asyncio.to_thread(self.store.get, name)

    async def list(self, after: str = "", limit: int | None = None) -> list[StoredApi]:
        """By name, those behind `after`; at most `limit` of them."""
        return await asyncio.to_thread(self.store.list, after, limit)

    async def history(self, name: str, before: int | None, limit: int) -> Sequence[Entry]:
        """The newest first; those older than the revision `before`. Raises `NoSuchApiError`: there never was one."""
        entries = await asyncio.to_thread(self.store.history, API, name, before, limit)
        if not entries and not await asyncio.to_thread(self.store.history, API, name, None, 1):
            raise NoSuchApiError(name)
        return entries

    async def past(self, name: str, revision: int) -> PastApi:
        """The API as that write left it: `Store.at`. Raises `NoSuchRevisionError`, `Invalid`."""
        return decode_past(await asyncio.to_thread(self.store.at, API, name, revision))

    async def diff(self, before: PastApi, after: PastApi) -> str:
        """Unified, of the YAML that is shown of both, without secrets."""
        return await asyncio.to_thread(diff_of_past, before, after, self.definitions)

    async def _write(self, name: str | None, prepare: Prepare, write: Write, terms: Terms) -> StoredApi:
        async with self._writing:
            stored, bundle, is_new = await asyncio.to_thread(self._written, name, prepare, write, terms)
            self.deployment.set_desired(bundle, stored.revision)
        if is_new:
            log.info("API written", extra={"api": stored.name, "revision": stored.revision})
        return stored

    def _written(
        self, name: str | None, prepare: Prepare, write: Write, terms: Terms
    ) -> tuple[StoredApi, Bundle, bool]:
        """The bool: whether there was anything to write, for the same again stays as it is. Where another controller
        has written the API since it was read, the write is made anew."""
        for _ in range(TRIES):
            seen = self._stored(name) if name else None
            api, versions, bundle = prepare()
            expected = frozenset([seen.revision if seen else 0]) if terms.expected is None else terms.expected
            before = self.store.revision
            try:
                stored = write(api, versions, msgspec.structs.replace(terms, expected=expected))
                return stored, bundle, stored.revision > before
            except ContextTakenError as error:
                raise Invalid(
                    [context_taken(error.host, error.context, error.api, chooses_nodes=bool(api.spec.nodes))]
                ) from None
            except OtherRevisionError:
                if terms.expected is not None:
                    raise
        raise StorageError(f"the API was written by others {TRIES} times meanwhile", full=False)

    async def _tried(self, prepare: Prepare) -> TriedWrite:
        async with self._writing:
            return await asyncio.to_thread(self._not_written, prepare)

    def _not_written(self, prepare: Prepare) -> TriedWrite:
        api, versions, _ = prepare()
        return TriedWrite(api, versions, self._stored(api.metadata.name))

    def _prepared(self, document: JsonObject, terms: Terms) -> tuple[Api, Versions, Bundle]:
        """What a write stores and hands to the nodes."""
        self._refuse(_name_of(document), terms)
        api = self._validated(document, self.definitions, self._claims_beside(document))
        self.refuse_others(api, terms.permit)
        versions = newest_versions(api, self.definitions)
        return api, versions, self.translate(api, versions)

    def _prepared_past(self, past: PastResource, terms: Terms) -> tuple[Api, Versions, Bundle]:
        """The same of a rollback."""
        document = kept_document(past)
        self._refuse(past.entry.name, terms, is_there=False)
        api = self._validated(document, self.definitions, self._claims_beside(document))
        self.refuse_others(api, terms.permit)
        versions = kept_versions(api, past.versions, self.definitions)
        exact = self._runnable(self.effective(api, versions), self.definitions)
        return api, versions, translate(exact, self.definitions, self._edge)

    def _refuse(self, name: str | None, terms: Terms, *, is_there: bool = True) -> None:
        """Raises what the store would, before the mistakes of a document. is_there: whether only an API that is there
        can be refused so."""
        stored = self._stored(name) if name else None
        if stored or not is_there:
            refuse(API, name or "", stored, terms)

    def _stored(self, name: str) -> StoredApi | None:
        try:
            return self.store.get(name)
        except NoSuchApiError:
            return None

    def _with_secrets(self, document: JsonObject, definitions: Definitions) -> JsonObject:
        """The document with the secrets that the stored API has, where it has their masks."""
        name = _name_of(document)
        stored = self._stored(name) if name else None
        return restored(document, stored.api, definitions) if stored else document

    def _claims_beside(self, document: JsonObject) -> dict[Claim, str]:
        own = _name_of(document)
        return {claim: name for claim, name in self.store.holders(claimed_by(document)).items() if name != own}

    async def _delete(self, name: str, terms: Terms) -> None:
        async with self._writing:
            revision = await asyncio.to_thread(self.store.delete, name, terms)
            self.deployment.remove(name, revision)
        log.info("API deleted", extra={"api": name, "revision": revision})


def _name_of(document: JsonObject) -> str | None:
    metadata = document.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    return name if isinstance(name, str) else None


def _stands_twice(name: str | None) -> Mistake:
    return Mistake("metadata.name", f"expected each API once, got {name!r} a second time")
