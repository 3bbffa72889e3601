"""The management API's /v1/plan and /v1/apply: sets of resources, applied whole or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Literal, TypeVar

import msgspec
from gatewright_documents.mistake import Invalid, Mistake
from gatewright_documents.strict import mistakes_of
from gatewright_documents.values import JsonObject
from msgspec import UNSET
from starlette.requests import Request
from starlette.responses import Response

from gatewright_controller.api_folder import ApiFolder
from gatewright_controller.apis.api_source import ApiSource
from gatewright_controller.management.authors import REASON, author_of
from gatewright_controller.management.bodies import Bodies
from gatewright_controller.management.callers import permit_of
from gatewright_controller.management.folder_api import OF_FILES, refused_beside_files
from gatewright_controller.management.json_answer import JsonAnswer
from gatewright_controller.management.plan_shapes import shaped_change, shaped_plan, shaped_unchanged
from gatewright_controller.management.problems import Problem
from gatewright_controller.management.queries import WAIT, wait
from gatewright_controller.management.rows import Answer, Body, Part, Row
from gatewright_controller.management.shapes import plans as shapes
from gatewright_controller.nodes.deployment import Deployment
from gatewright_controller.plans import Change, Intent, OfFilesError, Plans, Reviewed, ShownPlan

S = TypeVar("S", bound=shapes.ResourceSet)


class PlanEndpoints:
    """What a set of resources would change, and the change itself."""

    def __init__(self, plans: Plans, deployment: Deployment, bodies: Bodies, folder: ApiFolder | None) -> None:
        """folder: of the files that alone say some kinds."""
        self._plans, self._deployment, self._bodies, self._folder = plans, deployment, bodies, folder

    async def plan(self, request: Request) -> Response:
        """Nothing is changed. 422 with all mistakes, and conflicts with who has what; 409 for another owner's."""
        asked = await self._asked(request, shapes.ResourceSet)
        plan = await self._plans.plan(self._sources(asked), self._intent(asked), permit_of(request))
        return JsonAnswer(shaped_plan(plan))

    async def apply(self, request: Request) -> Response:
        """All of it is stored and handed to the nodes, or nothing. As `plan`; 409 where the digest is another's, and
        for what files alone say."""
        seconds = wait(request)
        asked = await self._asked(request, shapes.ReviewedSet)
        since = None if asked.revision is UNSET else asked.revision
        reviewed = None if asked.digest is UNSET else Reviewed(asked.digest, since)
        author, permit = author_of(request), permit_of(request)
        try:
            done = await self._plans.apply(self._sources(asked), self._intent(asked), author, reviewed, permit)
        except OfFilesError as error:
            assert self._folder
            refused = refused_beside_files(self._folder, error.kind, error.name)
            raise Problem(409, f"{refused.detail}; nothing of the set was changed") from None
        resources = await self._outcomes(done, seconds)
        applied = shapes.Applied(
            changes=[shaped_change(change) for change in done.changes],
            unchanged=shaped_unchanged(done),
            revision=done.revision,
            resources=resources,
        )
        return JsonAnswer(applied)

    async def _asked(self, request: Request, shape: type[S]) -> S:
        document = await self._bodies.definitions(request)
        return await asyncio.to_thread(_checked, document, shape)  # it may be large

    def _sources(self, asked: shapes.ResourceSet) -> list[ApiSource]:
        return self._bodies.bounded(
            ApiSource(source.file, source.text.encode(), source.values, source.line) for source in asked.sources
        )

    def _intent(self, asked: shapes.ResourceSet) -> Intent:
        return Intent(asked.owner, asked.prune, asked.take_over, leaves=OF_FILES if self._folder else ())

    async def _outcomes(self, done: ShownPlan, seconds: float) -> list[shapes.Outcome]:
        """What has become of each resource after at most so many seconds."""
        served = {change.name for change in done.changes if change.kind == "Api" and change.action != "delete"}
        served |= {name for kind, name in done.unchanged if kind == "Api"}
        served |= set(done.concerned)
        gone = {gone for change in done.changes if (gone := _gone(change))}
        await asyncio.gather(
            self._deployment.wait_until_all_converged(seconds, served),
            self._deployment.wait_until_removed(gone, seconds),
            self._wait_for_gateway(done, seconds),
        )
        changed = (outcome for change in done.changes for outcome in self._outcomes_of(change))
        unchanged = (self._outcome(kind, name) for kind, name in done.unchanged)
        others = set(done.concerned) - {name for kind, name in done.unchanged if kind == "Api"}
        return [*changed, *unchanged, *map(self._api, sorted(others))]

    def _outcome(self, kind: str, name: str) -> shapes.Outcome:
        match kind:
            case "Gateway":
                return self._gateway()
            case "Api":
                return self._api(name)
        return _other(kind, name, "stored")

    async def _wait_for_gateway(self, done: ShownPlan, seconds: float) -> None:
        if any(change.kind == "Gateway" for change in done.changes):
            await self._deployment.wait_until_gateway_converged(seconds)

    def _outcomes_of(self, change: Change) -> Iterator[shapes.Outcome]:
        if gone := _gone(change):
            yield self._removed(gone)
        if change.kind not in ("Api", "Gateway") and change.action == "delete":
            yield _other(change.kind, change.name, "deleted")
        elif change.kind == "Gateway" or change.action != "delete":
            yield self._outcome(change.kind, change.name)

    def _api(self, name: str) -> shapes.Outcome:
        status = self._deployment.status(name)
        return shapes.Outcome(kind="Api", name=name, state=status.state, reason=status.reason)

    def _removed(self, name: str) -> shapes.Outcome:
        if self._deployment.is_removed(name):
            return shapes.Outcome(kind="Api", name=name, state="deleted", reason="")
        return shapes.Outcome(kind="Api", name=name, state="pending", reason="not every node has removed it yet")

    def _gateway(self) -> shapes.Outcome:
        status = self._deployment.gateway_status()
        return shapes.Outcome(kind="Gateway", name="gateway", state=status.state, reason=status.reason)


def _other(kind: str, name: str, state: Literal["deleted", "stored"]) -> shapes.Outcome:
    return msgspec.convert({"kind": kind, "name": name, "state": state, "reason": ""}, shapes.Outcome)


def _gone(change: Change) -> str:
    """The name of the API that goes by this change; "" where none does."""
    if change.kind != "Api":
        return ""
    return change.renamed_from or (change.name if change.action == "delete" else "")


def _checked(document: JsonObject, shape: type[S]) -> S:
    """Raises `Invalid`."""
    if mistakes := list(mistakes_of(shape, document)):
        raise Invalid(mistakes)
    asked = msgspec.convert(document, shape)
    if asked.prune and not asked.owner:
        cure = "name the owner whose resources are to be pruned, or leave prune out"
        raise Invalid([Mistake.expecting("an owner with prune", "none", cure, field="owner")])
    return asked


PART = Part(
    "Sets of resources",
    PlanEndpoints,
    (
        Row(
            "plan",
            "POST",
            "/v1/plan",
            PlanEndpoints.plan,
            "apis:write",
            "What applying a set of resources would change, and what that means to requests; nothing is done.",
            {200: Answer("The changes.", (shapes.Plan,))},
            body=Body((shapes.ResourceSet,)),
            refusals=(409, 413, 415, 422, 503),
            audit="nothing",
        ),
        Row(
            "apply",
            "POST",
            "/v1/apply",
            PlanEndpoints.apply,
            "apis:write",
            "Applies a set of resources: all of it, or nothing.",
            {200: Answer("What has changed, and what has become of it.", (shapes.Applied,))},
            query=(WAIT, REASON),
            body=Body((shapes.ReviewedSet,)),
            refusals=(409, 413, 415, 422, 503, 507),
        ),
    ),
)
