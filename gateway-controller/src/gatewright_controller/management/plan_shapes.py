"""Plans as clients get them."""

from __future__ import annotations

from typing import cast

from msgspec import UNSET

from gatewright_controller.management.shapes import plans as shapes
from gatewright_controller.plans import Change, ShownPlan


def shaped_plan(shown: ShownPlan) -> shapes.Plan:
    """The plan as clients get it."""
    changes = [shaped_change(change) for change in shown.changes]
    return shapes.Plan(changes=changes, unchanged=shaped_unchanged(shown), revision=shown.revision, digest=shown.digest)


def shaped_unchanged(shown: ShownPlan) -> list[shapes.Unchanged]:
    """What a set has and the store too, as clients get it."""
    return [shapes.Unchanged(kind=cast("shapes.Kind", kind), name=name) for kind, name in shown.unchanged]


def shaped_change(change: Change) -> shapes.Change:
    """The change as clients get it."""
    return shapes.Change(
        action=change.action,
        kind=cast("shapes.Kind", change.kind),
        name=change.name,
        renamed_from=change.renamed_from or UNSET,
        revision=change.revision,
        diff=change.diff,
        effects=list(change.effects),
    )
