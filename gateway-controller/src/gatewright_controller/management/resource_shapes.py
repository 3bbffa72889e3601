"""The shapes of a kind of resource, made of its model and its status."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType

from gatewright_controller.kinds import Kind
from gatewright_controller.management.shapes import revisions
from gatewright_controller.management.shapes.answer import Answered


class ResourceChange(Answered, frozen=True):
    """What a write would change."""

    kind: Literal["created", "changed", "unchanged"]
    revision: int | None
    """Of what would be replaced; none where nothing is there."""
    diff: str
    """Unified, of the YAML that is shown; a secret that changes has a comment behind its mask."""


class TriedStatus(Answered, frozen=True):
    """Of a write that was not done."""

    change: ResourceChange


class ResourceUser(Answered, frozen=True):
    """A resource that uses another one."""

    kind: str
    name: str


class ResourceUsers(Answered, frozen=True):
    """What uses a resource."""

    users: list[ResourceUser]
    next: str | UnsetType = UNSET


class KindShapes:
    """resource: with its status. tried: what a write would make of it. past: as a write left it. listed: several."""

    def __init__(self, kind: type[Kind]) -> None:
        name = kind.name
        self.resource = _with_status(kind, f"{name}Resource", kind.status_shape, f"A {name} with its status.")
        self.tried = _with_status(kind, f"Tried{name}", TriedStatus, f"A {name} that was not written (`dry_run=true`).")
        self.past = _with_status(kind, f"Past{name}", revisions.Entry, f"A {name} as a write left it.")
        self.listed = msgspec.defstruct(
            f"{name}List",
            [(kind.plural, list[self.resource]), ("next", str | UnsetType, UNSET)],  # type: ignore[name-defined]
            namespace={"__doc__": f"{kind.plural_name()}, by name."},
            frozen=True,
        )


def _with_status(kind: type[Kind], name: str, status: type[Struct], words: str) -> Any:
    return msgspec.defstruct(
        name, [("status", status)], bases=(kind.model,), namespace={"__doc__": words}, frozen=True, kw_only=True
    )
