"""A plan as it is shown and reviewed, without any secret, and the digest that an apply holds against it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence

import msgspec
from msgspec.structs import asdict

from gatewright_controller.apis.api_change import TriedWrite, change_of, unified
from gatewright_controller.apis.api_source import ApiSource
from gatewright_controller.plans.effects import Effects
from gatewright_controller.plans.plan import Action, ApiPlan, ApiStep, Intent
from gatewright_controller.resource.api_text import api_text
from gatewright_controller.resource.definitions import Definitions
from gatewright_controller.resource.secrets import masked

Kind = str
"""Of resources, as documents have it."""


class Change(msgspec.Struct, frozen=True):
    """renamed_from: the name that it had, "" for any other action than a rename. revision: of what is stored, None for
    an add. diff: unified, of the YAML that is shown. effects: what it means to requests, a sentence each.
    """

    action: Action
    kind: Kind
    name: str
    renamed_from: str = ""
    revision: int | None = None
    diff: str = ""
    effects: tuple[str, ...] = ()


class ShownPlan(msgspec.Struct, frozen=True):
    """changes: in the order in which they take effect. revision: the store's newest when it was made."""

    changes: tuple[Change, ...]
    unchanged: tuple[tuple[Kind, str], ...]
    """Kind and name."""
    revision: int
    digest: str = ""
    concerned: tuple[str, ...] = ()
    """Of what was done: names of APIs that it did not write and that have other Defaults."""


def digest_of(
    changes: Sequence[Change], sources: Sequence[ApiSource], intent: Intent, keyed: Mapping[tuple[str, bytes], str]
) -> str:
    """SHA-256, in hex: equal for two plans that do the same, with the same documents, to the same world. What the
    changes do not reach may have moved. keyed: by file and text, for a file may have several documents, what stands for
    those with values of which no digest may say anything."""
    texts = [
        [source.file, keyed.get((source.file, source.text)) or hashlib.sha256(source.text).hexdigest()]
        for source in sources
    ]
    asked = asdict(intent)
    del asked["leaves"]  # what that leaves is not among the changes
    content = [asked, texts, [asdict(change) for change in changes]]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def outlined(plan: ApiPlan) -> Iterator[Change]:
    """The changes of APIs, without diffs and effects."""
    yield from (_outlined(step) for step in plan.steps)


def _outlined(step: ApiStep, diff: str = "", effects: tuple[str, ...] = ()) -> Change:
    revision = step.before.revision if step.before else None
    return Change(step.action, "Api", step.name, step.renamed_from, revision, diff, effects)


def described(plan: ApiPlan, definitions: Definitions, effects: Effects) -> Iterator[Change]:
    """The changes of APIs. It may take a while: not for the event loop."""
    yield from (_outlined(step, _diff(step, definitions), effects.of(step)) for step in plan.steps)


def _diff(step: ApiStep, definitions: Definitions) -> str:
    if step.after:
        return change_of(TriedWrite(step.after.api, step.after.versions, step.before), definitions).diff
    assert step.before
    old = api_text(masked(step.before.api, step.before.versions, definitions))
    return unified(old, "", f"{step.name} of revision {step.before.revision}", "/dev/null")
