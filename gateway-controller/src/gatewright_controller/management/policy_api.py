"""The management API's /v1/policies: what APIs can attach, and other definitions of it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping

import msgspec
from gatewright_documents.strict import mistakes_of
from gatewright_documents.values import JsonObject
from starlette.requests import Request
from starlette.responses import Response

from gatewright_controller.apis.controller import Controller
from gatewright_controller.apis.prospect import Prospect
from gatewright_controller.management.authors import TERMS, terms_of
from gatewright_controller.management.bodies import Bodies, has_body
from gatewright_controller.management.json_answer import JsonAnswer, shaped
from gatewright_controller.management.pages import NAME, PAGED, fits_name, page_of
from gatewright_controller.management.problems import Problem
from gatewright_controller.management.queries import WAIT
from gatewright_controller.management.queries import wait as wait_seconds
from gatewright_controller.management.rows import Answer, Body, Part, Row
from gatewright_controller.management.shapes import policies as shapes
from gatewright_controller.management.shapes.apis import MovedPolicy
from gatewright_controller.nodes.node import ApiStatus
from gatewright_controller.resource.definitions import Definition


class PolicyEndpoints:
    """The definitions of a build's policies."""

    def __init__(self, controller: Controller, bodies: Bodies) -> None:
        self._controller, self._bodies = controller, bodies

    async def list(self, request: Request) -> Response:
        """Those that APIs can attach, with their schemas."""
        asked = (definition for definition in self._controller.definitions if fits_name(request, definition.name))
        return JsonAnswer(page_of(request, asked, _key, _order).answer("policies", _policy))

    async def reload(self, request: Request) -> Response:
        """The definitions folder is read again; {"apis": […]} in the body, if there is one, is written with it."""
        wait, terms = wait_seconds(request), terms_of(request)
        sources = []
        if has_body(request):
            document = await self._bodies.definitions(request)
            sources = self._bodies.sources(document)
            _refuse_mistakes(shapes.Reload, document)
        prospect = await self._controller.reload_definitions(sources, terms)
        deployment = self._controller.deployment
        waits = (deployment.wait_until_converged(name, wait, changing=True) for name in prospect.apis)
        statuses = await asyncio.gather(*waits)
        return JsonAnswer(_prospect(prospect, dict(zip(prospect.apis, statuses, strict=True))))

    async def check(self, request: Request) -> Response:
        """What `reload` would do with the definitions, and the APIs, in the body."""
        document = await self._bodies.definitions(request)
        texts = document.get("definitions")
        if not isinstance(texts, dict) or not all(isinstance(text, str) for text in texts.values()):
            raise Problem(422, 'expected {"definitions": {FILE: TEXT}}')
        found = {name: text.encode() for name, text in texts.items()}
        sources = self._bodies.sources(document)
        _refuse_mistakes(shapes.Definitions, document)
        return JsonAnswer(_prospect(await self._controller.check_definitions(found, sources), {}))


def _refuse_mistakes(shape: type[msgspec.Struct], document: JsonObject) -> None:
    if mistakes := list(mistakes_of(shape, document)):
        raise Problem(422, "; ".join(map(str, mistakes)), mistakes=mistakes)


def _key(definition: Definition) -> str:
    return f"{definition.name}:{definition.version}"


def _order(key: str) -> tuple[str, list[int]]:
    """v1.10.0 stands behind v1.9.0."""
    name, _, version = key.partition(":")
    return name, [int(number) for number in re.findall("[0-9]{1,9}", version)]


def _prospect(prospect: Prospect, apis: Mapping[str, ApiStatus]) -> shapes.PolicyImpact:
    """apis: what has become of those concerned."""
    changes = prospect.changes
    return shapes.PolicyImpact(
        added=list(changes.added),
        removed=list(changes.removed),
        changed=list(changes.changed),
        moved=shaped(list[MovedPolicy], prospect.moves),
        apis=[
            shapes.AffectedApi(name=name, state=status.state, reason=status.reason)
            for name, status in sorted(apis.items())
        ],
    )


def _policy(definition: Definition) -> shapes.Policy:
    policy = definition.policy
    return shapes.Policy(
        name=policy.name,
        version=policy.version,
        display_name=policy.display_name,
        description=policy.description,
        runtime=policy.runtime,
        processing_mode=shaped(shapes.ProcessingMode, policy.processing_mode),
        allow_continue=policy.allow_continue,
        parameters=definition.parameters.document,
        definition_digest=definition.digest,
    )


PART = Part(
    "Policies",
    PolicyEndpoints,
    (
        Row(
            "listPolicies",
            "GET",
            "/v1/policies",
            PolicyEndpoints.list,
            "apis:read",
            "The policies that APIs can attach, with the schemas of their parameters.",
            {200: Answer("The policies.", (shapes.PolicyList,))},
            query=(NAME, *PAGED),
        ),
        Row(
            "checkPolicies",
            "POST",
            "/v1/policies/check",
            PolicyEndpoints.check,
            "policies:write",
            "What these definitions of policies, and these APIs, would change; nothing is done.",
            {200: Answer("What they would change.", (shapes.PolicyImpact,))},
            body=Body((shapes.Definitions,)),
            refusals=(413, 415, 422, 503),
            audit="nothing",
        ),
        Row(
            "reloadPolicies",
            "POST",
            "/v1/policies/reload",
            PolicyEndpoints.reload,
            "policies:write",
            "Reads the definitions of policies again, and writes these APIs with them: all or nothing.",
            {
                200: Answer(
                    "What has changed, and what has become of the APIs that it concerns.", (shapes.PolicyImpact,)
                )
            },
            query=(WAIT, *TERMS),
            body=Body((shapes.Reload,), required=False),
            refusals=(409, 413, 415, 422, 503, 507),
            audit="all",
        ),
    ),
)
