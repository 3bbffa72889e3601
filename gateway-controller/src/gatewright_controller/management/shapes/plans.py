"""Sets of resources that are applied together, and what they would change or have changed."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from gatewright_documents.strict import expecting
from msgspec import UNSET, Meta, UnsetType

from gatewright_controller.management.shapes.answer import Answered
from gatewright_controller.management.shapes.apis import State
from gatewright_controller.management.shapes.policies import Line
from gatewright_controller.model import Strict

OWNER = "[a-z0-9][a-z0-9./-]{0,62}"
"""A pattern of all of an owner's name."""
Owner = Annotated[
    str,
    Meta(
        pattern=f"^({OWNER})?$",
        extra_json_schema=expecting("a short name such as 'team-a', or '' for none"),
    ),
]
Kind = Literal["Api", "Gateway", "Secret", "Plan", "Consumer", "Defaults", "Namespace", "NodeGateway"]


class SourceText(Strict, frozen=True):
    """The document of an API, of the Gateway or of a resource of another kind."""

    file: str
    """Its name in mistakes; JSON if it ends in `.json`, else YAML."""
    text: str
    line: Line = 1
    """Of the file, in which the text begins: the lines of mistakes are counted from it."""
    values: dict[str, str] = msgspec.field(default_factory=dict)
    """Of a Secret: the contents of the files that its `valuesFromFiles` names, by key."""


class ResourceSet(Strict, frozen=True):
    """Documents that are applied together. Nothing that they do not name changes, unless it is pruned."""

    sources: list[SourceText]
    owner: Owner = ""
    """Who applies the set: what it has is this owner's from then on. Empty: what is stored keeps its owner."""
    prune: bool = False
    """Deletes what this owner has and the set has not. Of an API that goes and one that comes with the same hosts,
    contexts and listeners it makes a rename."""
    take_over: bool = False
    """What another owner has becomes this owner's; without it such a set is refused."""


class ReviewedSet(ResourceSet, frozen=True):
    """A set that is applied, if a digest is given only where it changes what a plan said."""

    digest: str | UnsetType = UNSET
    """That of the plan."""
    revision: int | UnsetType = UNSET
    """That of the plan, for a refusal to name what was written since."""


class Change(Answered, frozen=True, kw_only=True):
    """One step."""

    action: Literal["add", "change", "move", "rename", "delete"]
    """`move`: of hosts, contexts or listeners."""
    kind: Kind
    name: str
    renamed_from: str | UnsetType = msgspec.field(default=UNSET, name="from")
    """Of a rename: the name that it had."""
    revision: int | None
    """Of what is stored; none of an add."""
    diff: str
    """Unified, of the YAML that is shown, secrets masked. Empty in the answer to an apply without a digest."""
    effects: list[str]
    """What it means to requests, a sentence each. Empty like `diff`."""


class Unchanged(Answered, frozen=True):
    """A resource of the set that is stored as it is there."""

    kind: Kind
    name: str


class Plan(Answered, frozen=True):
    """What applying a set would change."""

    changes: list[Change]
    """In the order in which they take effect."""
    unchanged: list[Unchanged]
    revision: int
    """Of the newest write when it was made."""
    digest: str
    """Names the plan: an apply with it is refused if it would do anything else."""


class Outcome(Answered, frozen=True):
    """What has become of a resource of the set, or of one that went."""

    kind: Kind
    name: str
    state: State | Literal["deleted", "stored"]
    """`deleted`: no connected node serves it any more. `stored`: of a resource that nodes do not acknowledge."""
    reason: str


class Applied(Answered, frozen=True):
    """What applying a set has changed."""

    changes: list[Change]
    unchanged: list[Unchanged]
    revision: int
    """Of the write; of the newest one where nothing changed."""
    resources: list[Outcome]
