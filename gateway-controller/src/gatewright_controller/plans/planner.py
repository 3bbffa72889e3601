"""From what is stored and what is wanted to the steps between them.

An API's name is its identity: one that is stored and wanted changes, whatever context it gets. A name that goes and one
that comes with the same hosts, contexts and listeners are one API that is renamed. Nothing of another owner goes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain

from gatewright_controller.model import Api
from gatewright_controller.plans.plan import Action, ApiPlan, ApiStep, Conflict, Intent, WantedApi, claims
from gatewright_controller.resource.claims import Claim
from gatewright_controller.resource.versions import attachments
from gatewright_controller.store import API, StoredApi


def plan_apis(stored: Iterable[StoredApi], wanted: Sequence[WantedApi], intent: Intent) -> ApiPlan:
    """The steps after which each wanted API is stored as it is wanted. wanted: each name once; of two that claim the
    same, the one that has it already wins, else the one that stands first.
    """
    present = {api.name: api for api in stored}
    names = {api.name for api in wanted}
    going = [api for api in present.values() if api.name not in names and _is_pruned(api, intent)]
    renamed = _renamed(going, (api for api in wanted if api.name not in present))
    steps, unchanged = [], []
    for api in wanted:
        before = renamed.get(api.name) or present.get(api.name)
        owner = intent.owner or (before.owner if before else "")
        if before and _is_unchanged(before, api, owner):
            unchanged.append(api.name)
        else:
            steps.append(ApiStep(_action(before, api), before, api, owner))
    left = {api.name for api in going} - {api.name for api in renamed.values()}
    steps += [ApiStep("delete", api, None, api.owner) for api in going if api.name in left]
    staying = [api for api in present.values() if api.name not in names and api not in going]
    return ApiPlan(
        tuple(sorted(steps, key=lambda step: (step.action == "delete", step.name))),
        tuple(sorted(unchanged)),
        tuple(_conflicts(staying, wanted, present, intent)),
        tuple(_foreign(present, wanted, intent)),
    )


def means_the_same(api: Api, other: Api) -> bool:
    """Whether both say the same: a default is as if it were not written, and the order of keys says nothing."""
    return api == other and _parameters(api) == _parameters(other)


def _parameters(api: Api) -> str:
    return json.dumps([attachment.params for _, attachment in attachments(api)], sort_keys=True)  # to Python, 1 == True


def _is_pruned(api: StoredApi, intent: Intent) -> bool:
    if intent.is_all:
        return True
    is_owned = bool(intent.owner) and api.owner == intent.owner and (API, api.name) not in intent.keeps
    return intent.prune and API not in intent.leaves and is_owned


def _is_unchanged(before: StoredApi, after: WantedApi, owner: str) -> bool:
    same = (before.name, before.versions, before.owner) == (after.name, after.versions, owner)
    return same and means_the_same(before.api, after.api)


def _renamed(going: Sequence[StoredApi], coming: Iterable[WantedApi]) -> dict[str, StoredApi]:
    """The new names, each with the API that had another one. No two stored APIs have the same claims."""
    by_claims = {claims(api.api): api for api in going}
    return {api.name: by_claims[api.claims] for api in coming if api.claims in by_claims}


def _action(before: StoredApi | None, after: WantedApi) -> Action:
    if before is None:
        return "add"
    if before.name != after.name:
        return "rename"
    return "change" if claims(before.api) == after.claims else "move"


def _foreign(present: Mapping[str, StoredApi], wanted: Sequence[WantedApi], intent: Intent) -> Iterator[StoredApi]:
    """Wanted APIs that another owner has. One that has no owner may be anyone's."""
    if not intent.owner or intent.take_over:
        return
    for api in wanted:
        if (before := present.get(api.name)) and before.owner not in ("", intent.owner):
            yield before


def _conflicts(
    staying: Sequence[StoredApi], wanted: Sequence[WantedApi], present: Mapping[str, StoredApi], intent: Intent
) -> Iterator[Conflict]:
    """Each wanted API that cannot have one of its claims, with the API that has it."""
    holders: dict[tuple[str, str], list[tuple[Claim, str]]] = {}

    def take(name: str, claim: Claim) -> str | None:
        """The name of another API that a request could be for too; None where the claim is the API's from now on."""
        others = holders.setdefault((claim.host, claim.context), [])
        winner = next((other for held, other in others if held.clashes(claim) and other != name), None)
        if winner is None:
            others.append((claim, name))
        return winner

    for other in staying:
        for claim in claims(other.api):
            take(other.name, claim)
    had = {api.name: claims(present[api.name].api) if api.name in present else frozenset() for api in wanted}
    kept = ((api, claim) for api in wanted for claim in sorted(api.claims & had[api.name]))
    new = ((api, claim) for api in wanted for claim in sorted(api.claims - had[api.name]))
    for api, claim in chain(kept, new):
        if winner := take(api.name, claim):
            holder = next((known for known in staying if known.name == winner), None)
            yield _conflict(api, claim, winner, holder or present.get(winner), holder is not None, intent)


def _conflict(
    api: WantedApi, claim: Claim, winner: str, holder: StoredApi | None, stays: bool, intent: Intent
) -> Conflict:
    had, chooses_nodes = claims(holder.api) if holder else frozenset(), bool(api.api.spec.nodes)
    if holder is None or not any(held.clashes(claim) for held in had):
        return Conflict(api.name, claim, winner, owner=intent.owner, chooses_nodes=chooses_nodes)  # of the same set
    may_be_renamed = stays and had == api.claims
    return Conflict(api.name, claim, winner, holder.updated_at, holder.owner, may_be_renamed, chooses_nodes)
