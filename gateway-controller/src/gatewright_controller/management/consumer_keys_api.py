"""The management API's /v1/consumers/NAME/keys: keys of consumers, which are data and stand in no document."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import msgspec
from gatewright_documents.mistake import Mistake, shown
from gatewright_documents.strict import mistakes_of
from gatewright_documents.values import JsonObject
from msgspec import UNSET, UnsetType
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
    """A key that is made is shown once; what is kept is its digest."""

    def __init__(self, keys: ConsumerKeys, read: ReadObject) -> None:
        self._keys, self._read = keys, read

    async def list(self, request: Request) -> Response:
        """By name, without their texts. 404."""
        keys = await self._keys.list(request.path_params["name"], permit_of(request))
        shown = shapes.ConsumerKeyList(keys=list(map(_shown, keys)))
        return JsonAnswer(shown, headers={"cache-control": "no-store"})

    async def create(self, request: Request) -> Response:
        """201, with the text of a key that is made, which is not shown again; 404, 409, 422."""
        document = await self._read(request)
        mistakes = list(mistakes_of(shapes.WantedConsumerKey, document)) or list(_mistaken_end(document))
        if mistakes:
            raise Problem(422, f"{len(mistakes)} mistakes in the key", mistakes=mistakes)
        wanted = msgspec.convert(document, shapes.WantedConsumerKey)
        consumer, expires_at, terms = request.path_params["name"], _end_of(wanted), _terms(request)
        text: str | UnsetType = UNSET
        if wanted.key is UNSET:
            text, key = await self._keys.create(consumer, wanted.name, expires_at, terms)
        else:
            key = await self._keys.keep(consumer, wanted.name, wanted.key, expires_at, terms)
        created = shapes.CreatedConsumerKey(**msgspec.structs.asdict(_shown(key)), key=text)
        return JsonAnswer(created, 201, {"cache-control": "no-store"})

    async def delete(self, request: Request) -> Response:
        """204: from then on it opens nothing; 404."""
        await self._keys.delete(request.path_params["name"], request.path_params["key"], _terms(request))
        return Response(status_code=204)


def _mistaken_end(document: JsonObject) -> Iterator[Mistake]:
    """What no schema says of `days` and `expiresAt`."""
    if (end := document.get("expiresAt")) is None:
        return
    if "days" in document:
        yield Mistake.expecting("days or expiresAt", "both", "leave one of the two out", field="expiresAt")
    try:
        is_past = datetime.fromisoformat(end) <= utc_now()
    except ValueError:  # such as February 30
        yield Mistake.expecting("a time that there is", shown(end), field="expiresAt")
        return
    if is_past:
        yield Mistake.expecting("a time to come", shown(end), "leave the key out: it has expired", field="expiresAt")


def _end_of(wanted: shapes.WantedConsumerKey) -> str:
    """When the key expires; "" for never."""
    if wanted.expires_at is not UNSET:
        return timestamp(datetime.fromisoformat(wanted.expires_at))
    return "" if wanted.days is UNSET else timestamp(utc_now() + timedelta(days=wanted.days))


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
            "Makes a key for a consumer, whose text is in the answer and nowhere else, or takes one that it has.",
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
