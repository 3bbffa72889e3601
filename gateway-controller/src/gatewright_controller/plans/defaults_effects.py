"""What changed Defaults mean to requests: a sentence for each effect, with the APIs that have it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from gatewright_controller.model import Defaults, defaults_from_document
from gatewright_controller.plans.effects import NO_EFFECT, Effects
from gatewright_controller.plans.plan import ApiPlan, ApiStep, WantedApi
from gatewright_controller.plans.resource_steps import ResourceStep
from gatewright_controller.resource.known_defaults import changed_between, concern
from gatewright_controller.store import StoredApi

MOST_SENTENCES, MOST_NAMED = 40, 10
"""Of more APIs a sentence says how many there are."""


def defaults_effects(
    step: ResourceStep, plan: ApiPlan, stored: Mapping[str, StoredApi], effects: Effects
) -> Iterator[str]:
    """Of the APIs that the plan does not change itself; those that it does have effects of their own."""
    written = {written.before.name for written in plan.steps if written.before}
    changed = changed_between(_known(step.stored.document if step.stored else None), _known(step.kept))
    fitting = [api for name, api in sorted(stored.items()) if name not in written and concern(changed, api.api)]
    if not fitting:
        yield "no API that stays as it is gets anything else"
        return
    names: dict[str, list[str]] = {}
    for api in fitting:
        same = ApiStep("change", api, WantedApi(api.api, api.versions), api.owner)
        for sentence in effects.of(same):
            names.setdefault(sentence, []).append(api.name)
    sentences = [f"{_listed(apis)}: {sentence}" for sentence, apis in names.items() if sentence != NO_EFFECT]
    if unchanged := names.get(NO_EFFECT):
        sentences.append(f"{_listed(unchanged)}: {NO_EFFECT}")
    yield from sentences[:MOST_SENTENCES]
    if (more := len(sentences) - MOST_SENTENCES) > 0:
        yield f"and {more} effects more"


def _known(document: dict[str, object] | None) -> dict[str, Defaults]:
    return {"": defaults_from_document(document)} if document else {}


def _listed(names: list[str]) -> str:
    more = len(names) - MOST_NAMED
    return ", ".join([*names[:MOST_NAMED], f"{more} more"] if more > 1 else names)
