"""The verbs of declared resources: `plan` says what a set of documents would change, `apply` does it, whole or not."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TypeVar

import msgspec
from gatewright_documents.mistake import Invalid, Mistake
from gatewright_documents.values import JsonObject
from msgspec.structs import replace

from gatewright_controller.access import EVERYTHING, Permit
from gatewright_controller.apis.api_source import ApiSource
from gatewright_controller.apis.controller import Controller
from gatewright_controller.gateway.gateways import Gateways
from gatewright_controller.kinds import Kinds
from gatewright_controller.model import Api, from_document
from gatewright_controller.plans.defaults_effects import defaults_effects
from gatewright_controller.plans.effects import Effects
from gatewright_controller.plans.folder import FolderContents, FolderDocument, FolderPlan, plan_folder, read_folder
from gatewright_controller.plans.folder_resources import plan_folder_resources
from gatewright_controller.plans.gateway_step import NAME, GatewayPlan, gateway_diff, gateway_effects, plan_gateway
from gatewright_controller.plans.holders import Holders
from gatewright_controller.plans.plan import ApiPlan, ApiStep, Intent, WantedApi, claims
from gatewright_controller.plans.planner import means_the_same, plan_apis
from gatewright_controller.plans.resource_steps import (
    Key,
    ResourcePlan,
    ResourceStep,
    plan_resources,
    refuse_not_permitted,
)
from gatewright_controller.plans.shown import Change, Kind, ShownPlan, described, digest_of, outlined
from gatewright_controller.plans.wanted import (
    Documents,
    conflict_mistakes,
    name_of,
    read_documents,
    wanted_api,
    wanted_apis,
)
from gatewright_controller.resource.known_defaults import KnownDefaults, with_documents
from gatewright_controller.resource.namespaces import Namespaces, namespaces_with
from gatewright_controller.resource.secret_keys import keys_of
from gatewright_controller.store import (
    DEFAULTS,
    NAMESPACE,
    NODE_GATEWAY,
    SECRET,
    UNKNOWN,
    Author,
    Batch,
    ContextTakenError,
    NoSuchApiError,
    StorageError,
    StoredApi,
    Terms,
    WrittenMeanwhileError,
)
from gatewright_controller.store.finished import finished
from gatewright_controller.translate import Bundle
from gatewright_controller.validation import claimed_by
from gatewright_controller.validation.known_gateways import KnownGateways, names_in

log = logging.getLogger(__name__)
T = TypeVar("T")
TRIES = 10
"""Of an apply, while other controllers write its APIs."""
MEANWHILE = (WrittenMeanwhileError, ContextTakenError, NoSuchApiError)
"""What a write of a plan raises where another controller has written since: a new plan is for what is there."""


class ForeignError(Exception):
    """Resources that another owner has, by kind, name and owner. Nothing was changed."""

    def __init__(self, resources: Sequence[tuple[str, str, str]], owner: str) -> None:
        self.resources, self.owner = resources, owner
        super().__init__(", ".join(f"{kind} {name} is {its}'s" for kind, name, its in resources))


class MovedError(Exception):
    """What is there is not what a plan was made for. plan: what it would be now. moved: names of APIs that were written
    since. Nothing was changed."""

    def __init__(self, plan: ShownPlan, moved: Sequence[str]) -> None:
        self.plan, self.moved = plan, moved
        super().__init__("the plan is not for what is stored now")


class OfFilesError(Exception):
    """A set has a resource of a kind that files alone say. Nothing was changed."""

    def __init__(self, kind: str, name: str) -> None:
        self.kind, self.name = kind, name
        super().__init__(f"{kind} {name} is of files alone")


class Reviewed(msgspec.Struct, frozen=True):
    """A plan that was looked at: its digest, and the store's revision when it was made, None where it is not known."""

    digest: str
    revision: int | None = None


class Prepared(msgspec.Struct, frozen=True):
    """All of a plan, ready to be stored. stored: every API that it has to do with. keyed: as `digest_of` has it.
    defaults: those that there are then."""

    plan: ApiPlan
    gateway: GatewayPlan
    resources: ResourcePlan
    stored: Mapping[str, StoredApi]
    bundles: Mapping[str, Bundle]
    revision: int
    keyed: Mapping[tuple[str, bytes], str]
    defaults: KnownDefaults

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return not self.plan.steps and self.gateway.action is None and not any(self.resources.changing)

    @property
    def unchanged(self) -> tuple[tuple[Kind, str], ...]:
        """Kinds and names of what the set has and the store too."""
        apis: tuple[tuple[Kind, str], ...] = tuple(("Api", name) for name in self.plan.unchanged)
        others = tuple(step.key for step in self.resources.steps if step.action is None)
        is_same = self.gateway.is_wanted and self.gateway.action is None
        return (*others, ("Gateway", NAME), *apis) if is_same else (*others, *apis)


class Plans:
    """One for each controller."""

    def __init__(self, controller: Controller, gateways: Gateways, kinds: Kinds) -> None:
        self._controller, self._gateways, self._kinds = controller, gateways, kinds

    async def plan(self, sources: Sequence[ApiSource], intent: Intent, permit: Permit = EVERYTHING) -> ShownPlan:
        """permit: for whom it is. Raises `Invalid`, `ForeignError`, `NotPermittedError`, `GatewayOfFileError`."""

        def planned() -> ShownPlan:
            documents = read_documents(sources)
            prepared = self._at_one_moment(partial(self._prepared, documents, intent, permit, shows=True))
            return self._described(prepared, sources, intent)

        return await asyncio.to_thread(planned)

    async def apply(
        self,
        sources: Sequence[ApiSource],
        intent: Intent,
        author: Author = UNKNOWN,
        reviewed: Reviewed | None = None,
        permit: Permit = EVERYTHING,
    ) -> ShownPlan:
        """What was done: all of it is stored, in one transaction, and handed to the nodes, or nothing is.

        Raises as `plan`, `OfFilesError`, `MovedError`, `StorageError`.
        """
        documents = await asyncio.to_thread(read_documents, sources)
        if left := documents.first_of(intent.leaves):
            raise OfFilesError(*left)
        terms = Terms(author, intent.owner, intent.take_over, permit=permit)
        apply_once = partial(self._apply_once, documents, sources, intent, terms, reviewed)
        return await finished(self._apply(apply_once))

    async def apply_folder(
        self, documents: Sequence[FolderDocument], holders: Mapping[str, str], author: Author
    ) -> FolderPlan:
        """What can be served of a folder whose files have all APIs that there are: that is stored and handed to the
        nodes, and what it has not goes. holders: of the last look. Raises `StorageError`."""
        done: list[FolderPlan] = []

        async def apply_once() -> ShownPlan:
            prepare = partial(self._prepared_folder, documents, holders)
            folder, prepared = await asyncio.to_thread(self._at_one_moment, prepare)
            shown = ShownPlan(tuple(self._outlined(prepared)), prepared.unchanged, prepared.revision)
            if not prepared.is_empty:
                await self._written(prepared, Terms(author))
            done[:] = [folder]
            return shown

        await finished(self._apply(apply_once))
        return done[0]

    def _prepared_folder(
        self, documents: Sequence[FolderDocument], holders: Mapping[str, str]
    ) -> tuple[FolderPlan, Prepared]:
        store, controller = self._controller.store, self._controller
        revision, contents = store.revision, read_folder(documents)
        stored = {api.name: api for api in store.list()}
        resources = plan_folder_resources(
            self._kinds, contents, holders, partial(self._refuse_in_folder, contents, stored)
        )
        defaults = self._defaults_after(resources.plan)
        namespaces = self._namespaces_after(resources.plan)
        validate = partial(
            controller.validate_alone,
            gateways=controller.gateways.known,
            secrets=controller.secret_keys,
            defaults=defaults,
            namespaces=namespaces,
        )

        def read(source: ApiSource, document: JsonObject, before: StoredApi | None) -> WantedApi:
            return wanted_api(source, document, before, controller.definitions, validate)

        folder = plan_folder(contents, stored, holders, read)
        bundles = {
            step.name: controller.translate(step.after.api, step.after.versions, defaults)
            for step in folder.plan.steps
            if step.after
        }
        prepared = Prepared(folder.plan, GatewayPlan(), resources.plan, stored, bundles, revision, {}, defaults)
        order = {document.place: index for index, document in enumerate(documents)}
        statuses = sorted([*folder.documents, *resources.statuses], key=lambda status: order[status.place])
        return replace(folder, documents=statuses, holders={**folder.holders, **resources.holders}), prepared

    def _refuse_in_folder(
        self,
        contents: FolderContents,
        stored: Mapping[str, StoredApi],
        key: Key,
        changes: Mapping[Key, JsonObject | None],
    ) -> None:
        """Raises `Invalid` where an API that the folder leaves as it is could not go on with the resource. One that it
        changes is read with what is to be."""
        controller, staying = self._controller, list(_unchanged_by(contents, stored))
        kind, name = key
        if kind == DEFAULTS:
            documents = {name: document for (kind, name), document in changes.items() if kind == DEFAULTS}
            defaults = with_documents(controller.defaults, documents)
            mistakes = list(controller.mistakes_with(defaults, staying, controller.secret_keys))
        else:
            apis = [api.api for api in staying]
            mistakes = list(self._kinds[kind].kind.unfit(name, changes[key], apis))
        if mistakes:
            raise Invalid(mistakes)

    async def _apply(self, apply_once: Callable[[], Awaitable[ShownPlan]]) -> ShownPlan:
        async with self._gateways.writing, self._controller.writing:
            for _ in range(TRIES):
                with contextlib.suppress(*MEANWHILE):
                    return await apply_once()
            raise StorageError(f"APIs of the set were written by others {TRIES} times meanwhile", full=False)

    async def _apply_once(
        self,
        documents: Documents,
        sources: Sequence[ApiSource],
        intent: Intent,
        terms: Terms,
        reviewed: Reviewed | None,
    ) -> ShownPlan:
        """Raises as `apply`, and `WrittenMeanwhileError`: by another controller."""
        shows = reviewed is not None
        prepare = partial(self._prepared, documents, intent, terms.permit, shows=shows)
        prepared = await asyncio.to_thread(self._at_one_moment, prepare)
        shown = ShownPlan(tuple(self._outlined(prepared)), prepared.unchanged, prepared.revision)
        if reviewed:
            shown = await asyncio.to_thread(self._described, prepared, sources, intent)
            named = [api for api in prepared.stored.values() if terms.permit.covers(api.api)]
            _refuse_moved(shown, reviewed, named)
        if prepared.is_empty:
            return shown
        revision, concerned = await self._written(prepared, terms)
        return ShownPlan(shown.changes, shown.unchanged, revision, shown.digest, concerned)

    def _defaults_after(self, plan: ResourcePlan) -> KnownDefaults:
        """Those that there are once the set is applied."""
        steps = {step.name: step.kept for step in plan.changing if step.kind == DEFAULTS}
        return with_documents(self._controller.defaults, steps)

    def _namespaces_after(self, plan: ResourcePlan) -> Namespaces:
        steps = {step.name: step.kept for step in plan.changing if step.kind == NAMESPACE}
        return namespaces_with(self._controller.namespaces, steps)

    def _at_one_moment(self, prepare: Callable[[], T]) -> T:
        """Of what is stored then, whatever other controllers write."""
        with self._controller.store.snapshot():
            return prepare()

    def _prepared(self, documents: Documents, intent: Intent, permit: Permit, *, shows: bool) -> Prepared:
        """shows: whether the plan is to be described, for which all APIs must be known."""
        store = self._controller.store
        revision = store.revision
        needs_all = bool(shows or intent.prune or documents.gateway is not None or documents.others)
        stored = {api.name: api for api in store.list()} if needs_all else self._stored_beside(documents)
        gateway = plan_gateway(store.gateway(), self._wanted_gateway(documents), intent)
        resources = self._planned_resources(documents, intent, permit)
        gateways = self._gateways_after(gateway, resources)
        defaults, secrets = self._defaults_after(resources), partial(self._secret_keys_after, resources)
        validate = partial(
            self._controller.validate_alone,
            gateways=gateways,
            secrets=secrets,
            defaults=defaults,
            namespaces=self._namespaces_after(resources),
        )
        plan = plan_apis(
            stored.values(), wanted_apis(documents, stored, self._controller.definitions, validate), intent
        )
        if plan.conflicts:
            raise Invalid(list(conflict_mistakes(documents, plan.conflicts)))
        foreign = [(resource.kind, resource.name, resource.owner) for resource in resources.foreign]
        foreign += [("Api", api.name, api.owner) for api in plan.foreign]
        if gateway.foreign and gateway.stored:
            foreign.append(("Gateway", NAME, gateway.stored.owner))
        if foreign:
            raise ForeignError(foreign, intent.owner)
        self._refuse_not_permitted(plan, gateway, resources, permit)
        written = {step.name for step in plan.steps}
        left = [api for name, api in stored.items() if name not in written]
        mistakes = list(self._controller.mistakes_with(defaults, left, secrets))
        mistakes += self._unfit(resources, self._whole(_apis_after(plan, stored).values(), defaults))
        if mistakes:
            raise Invalid(mistakes)
        known = self._controller.gateways.known
        if gateways != known and (mistakes := gateways.newly_unnamed(known, _apis_after(plan, stored).values())):
            raise Invalid(mistakes)
        bundles = {
            step.name: self._controller.translate(step.after.api, step.after.versions, defaults)
            for step in plan.steps
            if step.after
        }
        hidden = [(key, found) for key, found in documents.others.items() if self._kinds[key[0]].kind.hides_values]
        keyed = {
            (source.file, source.text): self._kinds[kind].kind.digest(document)
            for (kind, _), (source, document) in hidden
        }
        return Prepared(plan, gateway, resources, stored, bundles, revision, keyed, defaults)

    def _planned_resources(self, documents: Documents, intent: Intent, permit: Permit) -> ResourcePlan:
        """The mistakes of those that cannot be kept are among those of the documents then."""
        plan, invalid = plan_resources(self._kinds, documents.others, intent, permit)
        if invalid:
            documents.mistakes += invalid.mistakes
        return plan

    def _secret_keys_after(self, plan: ResourcePlan, name: str) -> Collection[str] | None:
        """The keys of the Secret once the set is applied; None where there is none then."""
        if not plan.concerns((SECRET, name)):
            return self._controller.secret_keys(name)
        document = plan.after((SECRET, name))
        return keys_of(document) if document else None

    def _whole(self, apis: Iterable[Api], defaults: KnownDefaults) -> list[Api]:
        """The APIs with their Defaults."""
        return [self._controller.effective(api, (), defaults).api for api in apis]

    def _unfit(self, plan: ResourcePlan, apis: Collection[Api]) -> Iterator[Mistake]:
        """What keeps APIs from going on with what becomes of a resource, and resources from being written together."""
        changes: dict[str, dict[str, JsonObject | None]] = {}
        for step in plan.changing:
            changes.setdefault(step.kind, {})[step.name] = step.kept
            if step.kind not in (DEFAULTS, NODE_GATEWAY):  # which are looked at together
                yield from self._kinds[step.kind].kind.unfit(step.name, step.kept, apis)
        for kind in changes:
            yield from self._kinds[kind].kind.refused(changes)

    def _refuse_not_permitted(
        self, plan: ApiPlan, gateway: GatewayPlan, resources: ResourcePlan, permit: Permit
    ) -> None:
        """Raises `NotPermittedError`, before anything is shown of what is stored."""
        if gateway.action:
            permit.refuse_gateway()
        refuse_not_permitted(resources, permit)
        for step in plan.steps:
            if step.before:
                permit.refuse_others(step.before.api)
            if step.after:
                self._controller.refuse_others(step.after.api, permit)

    def _stored_beside(self, documents: Documents) -> dict[str, StoredApi]:
        """The stored APIs that those of the set replace, and those that have what they claim."""
        store = self._controller.store
        holders = store.holders(claim for _, document in documents.apis for claim in claimed_by(document))
        names = {name for _, document in documents.apis if (name := name_of(document))}
        return store.find(names.union(holders.values()))

    def _wanted_gateway(self, documents: Documents) -> JsonObject | None:
        """None too where it is wrong: then its mistakes are among those of the documents."""
        if documents.gateway is None:
            return None
        source, document = documents.gateway
        try:
            with source.locating():
                return self._gateways.checked(document)
        except Invalid as invalid:
            documents.mistakes += invalid.mistakes
            return None

    def _gateway_after(self, plan: GatewayPlan) -> JsonObject | None:
        return self._gateways.without_stored() if plan.action == "delete" else plan.document

    def _gateways_after(self, plan: GatewayPlan, resources: ResourcePlan) -> KnownGateways:
        """What nodes may have once the set is applied."""
        in_use = self._controller.gateways
        steps = {step.name: step.kept for step in resources.changing if step.kind == NODE_GATEWAY}
        node_gateways = in_use.node_gateways.with_node_gateways(steps)
        if plan.action is None:
            return node_gateways.with_default(in_use.default())
        document = self._gateway_after(plan)
        return node_gateways.with_default(names_in(document) if document else None)

    def _outlined(self, prepared: Prepared) -> Iterator[Change]:
        gateway = prepared.gateway
        yield from (_outlined(step) for step in prepared.resources.changing if step.kept)
        if gateway.action:
            revision = gateway.stored.revision if gateway.stored else None
            yield Change(gateway.action, "Gateway", NAME, "", revision)
        yield from outlined(prepared.plan)
        yield from (_outlined(step) for step in prepared.resources.changing if not step.kept)

    def _described(self, prepared: Prepared, sources: Sequence[ApiSource], intent: Intent) -> ShownPlan:
        effects = self._effects(prepared)
        going = (step for step in prepared.resources.changing if not step.kept)
        coming = (step for step in prepared.resources.changing if step.kept)
        changes = (
            *(self._described_resource(step, prepared, effects) for step in coming),
            *self._changes(prepared, effects),
            *(self._described_resource(step, prepared, effects) for step in going),
        )
        digest = digest_of(changes, sources, intent, prepared.keyed)
        return ShownPlan(changes, prepared.unchanged, prepared.revision, digest)

    def _described_resource(self, step: ResourceStep, prepared: Prepared, effects: Effects) -> Change:
        resources, before = self._kinds[step.kind], step.stored.document if step.stored else None
        labels = f"{step.name} of revision {step.stored.revision if step.stored else 0}", step.name
        diff = resources.diff_of(before, step.kept, *labels)
        if step.kind == DEFAULTS:
            sentences = defaults_effects(step, prepared.plan, prepared.stored, effects)
        else:
            sentences = resources.kind.effects(step.name, before, step.kept)
        return _outlined(step, diff, tuple(sentences))

    def _effects(self, prepared: Prepared) -> Effects:
        controller = self._controller
        stored = {name: api.api for name, api in prepared.stored.items()}
        return Effects(
            controller.definitions,
            controller.edge,
            Holders(stored),
            Holders(_apis_after(prepared.plan, prepared.stored)),
            [name for name in stored if controller.deployment.is_suspended(name)],
            (controller.whole, partial(controller.whole, defaults=prepared.defaults)),
        )

    def _changes(self, prepared: Prepared, effects: Effects) -> Iterator[Change]:
        gateway = prepared.gateway
        if gateway.action:
            after, now = self._gateway_after(gateway), self._gateways.current_document
            revision = gateway.stored.revision if gateway.stored else None
            sentences = gateway_effects(self._gateways.change(after), gateway)
            yield Change(gateway.action, "Gateway", NAME, "", revision, gateway_diff(now, after), sentences)
        yield from described(prepared.plan, self._controller.definitions, effects)

    async def _written(self, prepared: Prepared, terms: Terms) -> tuple[int, tuple[str, ...]]:
        """Stores all of it and hands it to the nodes in one go. The revision, and names of APIs that the plan does not
        change and that have other Defaults."""
        gateway = prepared.gateway
        if gateway.action and (document := self._gateway_after(gateway)):
            await self._gateways.prepare(document)
        written = await asyncio.to_thread(self._controller.store.write_batch, _batch(prepared), terms)
        if gateway.action:
            self._gateways.adopt(written.gateway)
        offers = await asyncio.to_thread(self._controller.offers_with, prepared.defaults, prepared.bundles)
        kept = {(resource.kind, resource.name): resource for resource in written.resources}
        for step in prepared.resources.changing:
            self._kinds[step.kind].adopt(step.name, kept.get(step.key), written.revision)
        _hand_out(prepared, self._controller, written.revision)
        for offer in offers.values():
            offer()
        return written.revision, tuple(offers)


def _batch(prepared: Prepared) -> Batch:
    steps, gateway, changing = prepared.plan.steps, prepared.gateway, list(prepared.resources.changing)
    return Batch(
        [(step.after.api, step.after.versions) for step in steps if step.after],
        {step.name: step.renamed_from for step in steps if step.renamed_from},
        [step.name for step in steps if step.action == "delete"],
        gateway.document if gateway.action in ("add", "change") else None,
        deletes_gateway=gateway.action == "delete",
        seen={name: api.revision for name, api in prepared.stored.items()},
        resources={step.key: step.kept for step in changing},
        seen_resources={step.key: step.stored.revision for step in changing if step.stored},
    )


def _unchanged_by(contents: FolderContents, stored: Mapping[str, StoredApi]) -> Iterator[StoredApi]:
    """The stored APIs that the folder has, and that no document of it says otherwise."""
    for name, same_name in contents.apis.items():
        if (found := stored.get(name)) and all(_says(document, found) for _, document in same_name):
            yield found


def _says(document: JsonObject, stored: StoredApi) -> bool:
    try:
        return means_the_same(from_document(document), stored.api)
    except msgspec.ValidationError:
        return True  # then it stays what it was


def _outlined(step: ResourceStep, diff: str = "", effects: tuple[str, ...] = ()) -> Change:
    assert step.action
    return Change(step.action, step.kind, step.name, "", step.stored.revision if step.stored else None, diff, effects)


def _refuse_moved(shown: ShownPlan, reviewed: Reviewed, stored: Iterable[StoredApi]) -> None:
    """stored: those that may be named."""
    if shown.digest != reviewed.digest:
        since = reviewed.revision
        moved = [api.name for api in stored if since is not None and api.revision > since]
        raise MovedError(shown, moved)


def _apis_after(plan: ApiPlan, stored: Mapping[str, StoredApi]) -> dict[str, Api]:
    apis = {name: api.api for name, api in stored.items()}
    for step in plan.steps:
        if step.before:
            apis.pop(step.before.name, None)
    return apis | {step.name: step.after.api for step in plan.steps if step.after}


def _hand_out(prepared: Prepared, controller: Controller, revision: int) -> None:
    """To the nodes, without a pause in which one could be sent a part. APIs that go stay at a node until it has those
    that take their contexts over."""
    deployment = controller.deployment
    for step in prepared.plan.steps:
        if step.after:
            deployment.set_desired(prepared.bundles[step.name], revision)
            log.info("API written", extra={"api": step.name, "revision": revision})
    coming = Holders({step.name: step.after.api for step in prepared.plan.steps if step.after})
    for step in prepared.plan.steps:
        if gone := _gone(step):
            held = (claim for claim in claims(gone.api) if not claim.is_name)  # a node has a name of one API alone
            successors = {name for claim in held for name in coming.clashing(claim)}
            deployment.remove(gone.name, revision, successors)
            log.info("API deleted", extra={"api": gone.name, "revision": revision})


def _gone(step: ApiStep) -> StoredApi | None:
    return step.before if step.action in ("delete", "rename") else None
