"""Resources of a set that are neither APIs nor the Gateway, against those that are stored."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Literal

import msgspec
from gatewright_documents.mistake import Invalid
from gatewright_documents.values import JsonObject

from gatewright_controller.access import Permit
from gatewright_controller.apis.api_source import ApiSource
from gatewright_controller.kinds import Kinds, Resources
from gatewright_controller.plans.plan import Intent
from gatewright_controller.store import StoredResource

Key = tuple[str, str]
"""Kind and name."""


class ResourceStep(msgspec.Struct, frozen=True):
    """action: None where nothing changes. kept: the form in which it is kept from then on, None where it goes."""

    kind: str
    name: str
    action: Literal["add", "change", "delete"] | None
    stored: StoredResource | None
    kept: JsonObject | None
    owner: str = ""

    @property
    def key(self) -> Key:
        """Kind and name."""
        return self.kind, self.name


class ResourcePlan(msgspec.Struct, frozen=True):
    """steps: by kind and name. foreign: what is stored and another owner's: then nothing may be applied."""

    steps: tuple[ResourceStep, ...] = ()
    foreign: tuple[StoredResource, ...] = ()

    @property
    def changing(self) -> Iterator[ResourceStep]:
        """The steps that change something."""
        return (step for step in self.steps if step.action)

    def after(self, key: Key) -> JsonObject | None:
        """What the set has, or leaves, of this resource. Raises `KeyError`: it does not concern it."""
        return {step.key: step.kept for step in self.steps}[key]

    def concerns(self, key: Key) -> bool:
        """Whether it is in the set, or goes."""
        return any(step.key == key for step in self.steps)


def plan_resources(
    kinds: Kinds, wanted: Mapping[Key, tuple[ApiSource, JsonObject]], intent: Intent, permit: Permit
) -> tuple[ResourcePlan, Invalid | None]:
    """wanted: documents by kind and name. The mistakes: of those that cannot be kept. Raises `NotPermittedError`, also
    for one that is stored as it is wanted: that is said of no value which the client may not write."""
    steps: list[ResourceStep] = []
    foreign: list[StoredResource] = []
    mistakes = []
    for resources in kinds:
        names = {name for kind, name in wanted if kind == resources.kind.name}
        found = resources.list_stored() if intent.prune else resources.find_stored(names)
        stored = {resource.name: resource for resource in found}
        for name in sorted(names):
            source, document = wanted[resources.kind.name, name]
            for side in (document, stored[name].document if name in stored else None):
                if side:
                    permit.refuse_other_resources(resources.kind.name, side)
            try:
                with source.locating():
                    steps.append(_step(resources, name, document, stored.get(name), intent))
            except Invalid as invalid:
                mistakes += invalid.mistakes
        steps += _pruned(resources.kind.name, stored, names, intent)
        foreign += (stored[name] for name in sorted(names & stored.keys()) if _is_foreign(stored[name], intent))
    return ResourcePlan(tuple(steps), tuple(foreign)), Invalid(mistakes) if mistakes else None


def _step(
    resources: Resources, name: str, document: JsonObject, stored: StoredResource | None, intent: Intent
) -> ResourceStep:
    """Raises `Invalid`."""
    kept, owner = resources.kept(document, stored), intent.owner or (stored.owner if stored else "")
    is_same = stored is not None and stored.document == kept and stored.owner == owner
    action: Literal["add", "change"] | None = None if is_same else "change" if stored else "add"
    return ResourceStep(resources.kind.name, name, action, stored, kept, owner)


def _pruned(
    kind: str, stored: Mapping[str, StoredResource], names: Collection[str], intent: Intent
) -> Iterator[ResourceStep]:
    for name, resource in stored.items():
        is_owned = bool(intent.owner) and resource.owner == intent.owner and (kind, name) not in intent.keeps
        if intent.prune and kind not in intent.leaves and is_owned and name not in names:
            yield ResourceStep(kind, name, "delete", resource, None, resource.owner)


def _is_foreign(stored: StoredResource, intent: Intent) -> bool:
    return bool(intent.owner) and not intent.take_over and stored.owner not in ("", intent.owner)


def refuse_not_permitted(plan: ResourcePlan, permit: Permit) -> None:
    """Raises `NotPermittedError` for what would go."""
    for step in plan.changing:
        permit.refuse_write(step.kind)
        if step.stored:
            permit.refuse_other_resources(step.kind, step.stored.document)
