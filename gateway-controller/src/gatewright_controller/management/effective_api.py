"""The management API's /v1/apis/NAME/effective: what an API is with the Defaults that fit it."""

from __future__ import annotations

import asyncio

import msgspec
from msgspec import UNSET
from starlette.requests import Request
from starlette.responses import Response

from gatewright_controller.apis.controller import Controller
from gatewright_controller.management.callers import permit_of
from gatewright_controller.management.json_answer import JsonAnswer
from gatewright_controller.management.rows import Answer, Parameter, Part, Row
from gatewright_controller.management.shapes import effective as shapes
from gatewright_controller.resource.effective import Effective, Origin, in_order
from gatewright_controller.resource.secrets import masked
from gatewright_controller.resource.versions import attachments


class EffectiveEndpoints:
    """Reads of APIs with their Defaults."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller

    async def get(self, request: Request) -> Response:
        """As it runs, secrets masked, and where each part comes from. 404."""
        controller = self._controller
        stored = await controller.get(request.path_params["name"])
        permit_of(request).refuse_others(stored.api)
        whole = await asyncio.to_thread(controller.effective, stored.api, stored.versions)
        status = shapes.EffectiveStatus(
            revision=stored.revision,
            defaults=[found.metadata.name for found in in_order(stored.api, controller.defaults.values())],
            policies=_policies(whole),
            settings=_settings(whole),
        )
        document = masked(whole.api, whole.versions, controller.definitions)
        return JsonAnswer({**document, "status": status}, headers={"cache-control": "no-store"})


def _policies(whole: Effective) -> list[shapes.EffectivePolicy]:
    found = list(zip(attachments(whole.api), whole.versions, strict=True))
    origins = [*whole.policies, *(Origin("", whole.place(field)) for (field, _), _ in found[len(whole.policies) :])]
    return [
        shapes.EffectivePolicy(
            field=field,
            name=attachment.name,
            version=version,
            written_at=origin.field,
            defaults=origin.defaults or UNSET,
        )
        for ((field, attachment), version), origin in zip(found, origins, strict=True)
    ]


def _settings(whole: Effective) -> list[shapes.EffectiveSetting]:
    return [
        shapes.EffectiveSetting(
            name=name,
            value=msgspec.to_builtins(setting.value),
            defaults=setting.origin.defaults or UNSET,
            enforced=setting.is_enforced,
            overruled=UNSET if setting.overruled is UNSET else msgspec.to_builtins(setting.overruled),
        )
        for name, setting in whole.settings.items()
    ]


PART = Part(
    "APIs with Defaults",
    EffectiveEndpoints,
    (
        Row(
            "getEffectiveApi",
            "GET",
            "/v1/apis/{name}/effective",
            EffectiveEndpoints.get,
            "apis:read",
            "An API with the policies and settings that it gets by Defaults, and where each part comes from.",
            {200: Answer("The API as it runs.", (shapes.EffectiveApi,))},
            in_path=(Parameter("name", {"type": "string"}, "Of the API."),),
            refusals=(404, 503),
        ),
    ),
)
