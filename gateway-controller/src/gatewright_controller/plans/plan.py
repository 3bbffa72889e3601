"""The values of a plan: what is wanted, each step that leads there, and what stands in the way."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

import msgspec

from gatewright_controller.model import Api
from gatewright_controller.resource.claims import Claim, claims_of_api
from gatewright_controller.resource.versions import Versions
from gatewright_controller.store import StoredApi

Action = Literal["add", "change", "move", "rename", "delete"]
"""`move`: of hosts, contexts or listeners. `rename`: one API goes and another comes with the same of these."""


class Intent(msgspec.Struct, frozen=True):
    """Who applies a set of resources. owner: "" for no one; what is stored keeps its owner then. prune: what this owner
    has and the set has not goes, but for `keeps`, by kind and name. take_over: what another owner has becomes this
    owner's. is_all: the set is all that there is to be, and whatever it has not goes. leaves: kinds that files alone
    say: a set has none of them, and does not prune them.
    """

    owner: str = ""
    prune: bool = False
    take_over: bool = False
    is_all: bool = False
    keeps: tuple[tuple[str, str], ...] = ()
    leaves: Collection[str] = ()


class WantedApi(msgspec.Struct, frozen=True):
    """An API of the set, valid, with the exact versions that its attachments get."""

    api: Api
    versions: Versions

    @property
    def name(self) -> str:
        """The API's name."""
        return self.api.metadata.name

    @property
    def claims(self) -> frozenset[Claim]:
        """What it has alone."""
        return claims(self.api)


class ApiStep(msgspec.Struct, frozen=True):
    """before: what is stored, None for an add. after: what takes its place, None for a deletion. owner: the API's from
    then on, or that of an API that goes.
    """

    action: Action
    before: StoredApi | None
    after: WantedApi | None
    owner: str = ""

    @property
    def name(self) -> str:
        """The API's name after the step; of one that goes the one it had."""
        if self.after:
            return self.after.name
        assert self.before
        return self.before.name

    @property
    def renamed_from(self) -> str:
        """ "" where it is no rename."""
        return self.before.name if self.action == "rename" and self.before else ""


class Conflict(msgspec.Struct, frozen=True):
    """An API of the set that cannot have what it claims, since a request could be for the winner too. since: when the
    winner was written, "" where it stands in the same set. owner: the winner's. may_be_renamed: the winner would go, if
    its owner pruned. chooses_nodes: the API that cannot have it names nodes.
    """

    name: str
    claim: Claim
    winner: str
    since: str = ""
    owner: str = ""
    may_be_renamed: bool = False
    chooses_nodes: bool = False


class ApiPlan(msgspec.Struct, frozen=True):
    """steps: in the order in which they take effect. unchanged: names of APIs of the set. foreign: what is stored and
    another owner's. With conflicts or foreign APIs nothing may be applied.
    """

    steps: tuple[ApiStep, ...] = ()
    unchanged: tuple[str, ...] = ()
    conflicts: tuple[Conflict, ...] = ()
    foreign: tuple[StoredApi, ...] = ()


def claims(api: Api) -> frozenset[Claim]:
    """What the API has alone."""
    return frozenset(claims_of_api(api))
