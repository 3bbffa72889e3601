"""What an API says that is attached to Envoys of others: nothing of what these do with a request."""

from __future__ import annotations

from collections.abc import Iterator

from gatewright_documents.mistake import Mistake

from gatewright_controller.model.api import FORWARDING_FIELDS
from gatewright_controller.model.upstream import UPSTREAMS_FORM
from gatewright_controller.validation.draft import Draft, DraftRouting


def check_attached(draft: Draft) -> Iterator[Mistake]:
    """An API has upstreams, or names of routes that it is attached to."""
    if not draft.attach_to:
        if not draft.has_upstream:
            yield Mistake("spec.upstream", f"expected an object, got nothing; {UPSTREAMS_FORM['x-cure']}")
        return
    if draft.has_upstream:
        yield _others_matter("spec.upstream")
    for routing in (draft.routing, *(operation.routing for operation in draft.operations)):
        yield from _check_routing(routing)
    first: dict[str, int] = {}
    for index, name in enumerate(draft.attach_to):
        if (earlier := first.setdefault(name, index)) != index:
            expected = f"expected each name once, got {name!r}, as spec.attachTo[{earlier}]"
            yield Mistake(f"spec.attachTo[{index}]", expected)


def _check_routing(routing: DraftRouting) -> Iterator[Mistake]:
    for name in FORWARDING_FIELDS:
        if routing.says(name):
            yield _others_matter(f"{routing.field}.{name}")


def _others_matter(field: str) -> Mistake:
    name = field.rpartition(".")[2]
    return Mistake(
        field, f"expected no {name} beside attachTo: the Envoy that the API is attached to decides that; remove one"
    )
