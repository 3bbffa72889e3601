"""The management API's /v1/consumers/NAME/keys: keys of consumers, which are data and stand in no document."""

from __future__ import annotations

from datetime import timedelta

import msgspec
from gatewright_documents.strict import mistakes_of
from msgspec import UNSET
from starlette.requests import Request
from starlette.responses import Response

from gatewright_controller.kinds import ConsumerKeys
from gatewright_controller.management.authors import REASON, author_of
from gatewright_controller.management.bodies import ReadObject
from gatewright_controller.management.callers import permit_of
from gatewright_controller.management.json_answer import JsonAnswer
from gatewright_controller.management.problems import Problem
from gatewright_controller.management.rows import Answer, Body, Parameter, Part, Row
from gatewright_controller.management.shapes import consumers as shapes
from gatewright_controller.store import ConsumerKey, Terms
from gatewright_controller.times import timestamp, utc_now


class ConsumerKeyEndpoints:
    """A key is shown once; what is kept is its digest."""

    def __init__(self, keys: ConsumerKeys, read: ReadObject) -> None:
        self._keys, self._read = keys, read

    async def list(self, request: Request) -> Response:
        """By name, without their texts. 404."""
        keys = await self._keys.list(request.path_params["name"], permit_of(request))
        shown = shapes.ConsumerKeyList(keys=list(map(_shown, keys)))
        return JsonAnswer(shown, headers={"cache-control": "no-store"})

    async def create(self, request: Request) -> Response:
        """201 with the text, which is not shown again; 404, 409, 422."""
        document = await self._read(request)
        if mistakes := list(mistakes_of(shapes.WantedConsumerKey, document)):
            raise Problem(422, f"{len(mistakes)} mistakes in the key", mistakes=mistakes)
        wanted, now = msgspec.convert(document, shapes.WantedConsumerKey), utc_now()
        expires_at = "" if wanted.days is UNSET else timestamp(now + timedelta(days=wanted.days))
        name = request.path_params["name"]
        text, key = await self._keys.create(name, wanted.name, expires_at, _terms(request))
        created = shapes.CreatedConsumerKey(**msgspec.structs.asdict(_shown(key)), key=text)
        return JsonAnswer(created, 201, {"cache-control": "no-store"})

    async def delete(self, request: Request) -> Response:
        """204: from then on it opens nothing; 404."""
        await self._keys.delete(request.path_params["name"], request.path_params["key"], _terms(request))
        return Response(status_code=204)


def _terms(request: Request) -> Terms:
    return Terms(author_of(request), permit=permit_of(request))


def _shown(key: ConsumerKey) -> shapes.ConsumerKeyResource:
    is_expired = bool(key.expires_at) and key.expires_at <= timestamp(utc_now())
    return shapes.ConsumerKeyResource(
        name=key.name,
        sha256=key.digest,
        created_at=key.created_at,
        created_by=key.created_by,
        expired=is_expired,
        expires_at=key.expires_at or UNSET,
    )


_NAME = Parameter("name", {"type": "string"}, "Of the consumer.")
_KEY = Parameter("key", {"type": "string"}, "Of the key.")
_PATH = "/v1/consumers/{name}/keys"

PART = Part(
    "Keys of consumers",
    ConsumerKeyEndpoints,
    (
        Row(
            "listConsumerKeys",
            "GET",
            _PATH,
            ConsumerKeyEndpoints.list,
            "consumers:read",
            "The keys of a consumer, by name, without their texts.",
            {200: Answer("The keys.", (shapes.ConsumerKeyList,))},
            in_path=(_NAME,),
            refusals=(404, 503),
        ),
        Row(
            "createConsumerKey",
            "POST",
            _PATH,
            ConsumerKeyEndpoints.create,
            "consumers:write",
            "Makes a key for a consumer, whose text is in the answer and nowhere else.",
            {201: Answer("The key.", (shapes.CreatedConsumerKey,))},
            in_path=(_NAME,),
            query=(REASON,),
            body=Body((shapes.WantedConsumerKey,)),
            refusals=(404, 409, 413, 422, 503, 507),
        ),
        Row(
            "deleteConsumerKey",
            "DELETE",
            f"{_PATH}/{{key}}",
            ConsumerKeyEndpoints.delete,
            "consumers:write",
            "Deletes a key, which opens nothing from then on.",
            {204: Answer("It is deleted.")},
            in_path=(_NAME, _KEY),
            query=(REASON,),
            refusals=(404, 503, 507),
        ),
    ),
)
