"""Sets of resources, as the controller plans and applies them."""

from __future__ import annotations

import msgspec

from gatewright_cli.clients.controller_refusals import DeployError
from gatewright_cli.mistakes import ExitStatus

ADD, CHANGE, MOVE, RENAME, DELETE = "add", "change", "move", "rename", "delete"
ACTIONS = (ADD, CHANGE, MOVE, RENAME, DELETE)
DELETED, STORED = "deleted", "stored"


class _Message(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """As the controller spells it."""


class SourceText(_Message, frozen=True):
    """A document. file: its name in mistakes. line: of the file, in which the text begins. values: of a
    Secret, the contents of the files that it names, by key.
    """

    file: str
    text: str
    line: int = 1
    values: dict[str, str] = msgspec.field(default_factory=dict)


class ResourceSet(_Message, frozen=True):
    """Documents that are applied together, and by which owner."""

    sources: tuple[SourceText, ...]
    owner: str = ""
    prune: bool = False
    take_over: bool = False


class Change(_Message, frozen=True):
    """One step of a plan. action: one of ACTIONS; before: of a rename, the name before it."""

    action: str
    kind: str
    name: str
    before: str = msgspec.field(default="", name="from")
    revision: int | None = None
    diff: str = ""
    effects: tuple[str, ...] = ()


class Unchanged(_Message, frozen=True):
    """A resource of the set that is stored as it is there."""

    kind: str
    name: str


class Plan(_Message, frozen=True):
    """What applying a set would change. revision: the controller's newest when it was made; digest: names the plan."""

    changes: tuple[Change, ...]
    unchanged: tuple[Unchanged, ...]
    revision: int
    digest: str


class Outcome(_Message, frozen=True):
    """What has become of a resource. state: one of `management`, DELETED, or STORED of a resource that
    nodes do not acknowledge."""

    kind: str
    name: str
    state: str
    reason: str


class Applied(_Message, frozen=True):
    """What applying a set has changed, and what has become of its resources."""

    changes: tuple[Change, ...]
    unchanged: tuple[Unchanged, ...]
    revision: int
    resources: tuple[Outcome, ...]


class ConflictError(DeployError):
    """The controller refuses a set because of what is there: it is another owner's, or not what a plan was made for.
    plan: of the latter, what it would be now."""

    def __init__(self, message: str, plan: Plan | None = None) -> None:
        super().__init__(message, ExitStatus.CONFLICT)
        self.plan = plan


class _Conflict(msgspec.Struct):
    detail: str = ""
    plan: Plan | None = None


def conflict_of(content: bytes) -> ConflictError:
    """The error that a 409 says."""
    conflict = msgspec.json.decode(content, type=_Conflict)
    return ConflictError(conflict.detail, conflict.plan)


def request_body(resources: ResourceSet, reviewed: Plan | None = None) -> bytes:
    """The body of a request to plan or to apply a set. reviewed: the plan that the set is to be applied by."""
    body = msgspec.to_builtins(resources)
    if reviewed:
        body |= {"digest": reviewed.digest, "revision": reviewed.revision}
    return msgspec.json.encode(body)
