"""What the history of a resource keeps of each write."""

from __future__ import annotations

from typing import Literal

from msgspec import UNSET, Struct, UnsetType, field

from gatewright_controller.management.shapes.answer import Answered
from gatewright_controller.model import Api, Gateway


class Entry(Answered, frozen=True):
    """One write of a resource."""

    revision: int
    action: Literal["created", "changed", "deleted", "renamed", "rolledBack"]
    at: str
    """RFC 3339, UTC."""
    actor: str
    """Who: `local` (this machine, without a token), `token`, `file`, or `unknown`."""
    origin: str
    """The address of the client, or the file."""
    reason: str
    """As the client gave it; empty for none."""
    owner: str
    """Whose the resource was from then on; empty for none."""
    source: str | UnsetType = field(default=UNSET, name="from")
    """What it was made of: the revision of a rollback, or the name that it had."""
    successor: str | UnsetType = field(default=UNSET, name="to")
    """The name that it has got."""


class RevisionList(Answered, frozen=True):
    """Writes, the newest first."""

    revisions: list[Entry]
    next: str | UnsetType = UNSET
    """The path of the older ones, if there are more."""


class PastApi(Api, frozen=True, kw_only=True):
    """An API as a write left it, secrets masked."""

    status: Entry


class PastGateway(Gateway, frozen=True, kw_only=True):
    """The Gateway as a write left it, secrets masked."""

    status: Entry


class Diff(Answered, frozen=True):
    """What two writes of a resource have different."""

    before: Entry = field(name="from")
    after: Entry = field(name="to")
    diff: str
    """Unified, of the resource as YAML, secrets masked; empty where they are the same."""


class Rollback(Struct, frozen=True, forbid_unknown_fields=True):
    """Which write is to be the newest again."""

    revision: int
    """Of its history; 0 stands for the newest, -1 for the one before it."""
