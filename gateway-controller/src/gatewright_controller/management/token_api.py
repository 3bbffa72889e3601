"""The management API's /v1/tokens and /v1/caller: with which rights clients come."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import msgspec
from gatewright_documents.mistake import Mistake
from gatewright_documents.strict import mistakes_of
from gatewright_documents.values import JsonObject
from msgspec import UNSET
from starlette.requests import Request
from starlette.responses import Response

from gatewright_controller import access
from gatewright_controller.access import Scope, Token
from gatewright_controller.known_tokens import has_expired
from gatewright_controller.management.authors import REASON, author_of
from gatewright_controller.management.bodies import ReadObject
from gatewright_controller.management.callers import caller_of
from gatewright_controller.management.json_answer import JsonAnswer
from gatewright_controller.management.pages import PAGED, page_of
from gatewright_controller.management.problems import Problem
from gatewright_controller.management.rows import Answer, Body, Parameter, Part, Row
from gatewright_controller.management.shapes import access as shapes
from gatewright_controller.store import NoSuchTokenError, Store
from gatewright_controller.times import timestamp, utc_now


class TokenEndpoints:
    """Tokens are no resources that are applied: their texts are known to their users alone."""

    def __init__(self, store: Store, read: ReadObject) -> None:
        self._store, self._read = store, read

    async def caller(self, request: Request) -> Response:
        """Who sends this request, and what they may."""
        caller = caller_of(request)
        grants = [msgspec.convert(_fields(grant), shapes.Grant) for grant in caller.grants]
        return JsonAnswer(shapes.CallerResource(actor=caller.actor, rights=sorted(caller.rights), grants=grants))

    async def list(self, request: Request) -> Response:
        """By name."""
        tokens = await asyncio.to_thread(self._store.tokens)
        page = page_of(request, tokens, lambda token: token.name)
        return JsonAnswer(page.answer("tokens", self._shown), headers={"cache-control": "no-store"})

    async def get(self, request: Request) -> Response:
        """404."""
        name = request.path_params["name"]
        tokens = await asyncio.to_thread(self._store.tokens)
        found = next((token for token in tokens if token.name == name), None)
        if found is None:
            raise NoSuchTokenError(name)
        return JsonAnswer(self._shown(found))

    async def create(self, request: Request) -> Response:
        """201 with the text, which is not shown again; 409, 422."""
        author, document = author_of(request), await self._read(request)
        if mistakes := list(mistakes_of(shapes.WantedToken, document)):
            raise _refused(mistakes)
        wanted, now = msgspec.convert(document, shapes.WantedToken), utc_now()
        scope = Scope(tuple(wanted.names), wanted.labels, tuple(wanted.hosts), tuple(wanted.contexts))
        grant = access.Grant(wanted.role, scope)
        if mistakes := list(grant.mistakes("role")):
            raise _refused(mistakes)
        expires_at = "" if wanted.days is UNSET else timestamp(now + timedelta(days=wanted.days))
        token, text = Token(wanted.name, grant, timestamp(now), author.actor, expires_at), access.new_text()
        await asyncio.to_thread(self._store.create_token, token, access.digest_of(text), author)
        created = shapes.CreatedToken(**msgspec.structs.asdict(self._shown(token)), token=text)
        headers = {"location": f"/v1/tokens/{token.name}", "cache-control": "no-store"}
        return JsonAnswer(created, 201, headers)

    async def delete(self, request: Request) -> Response:
        """204: from then on it opens nothing; 404."""
        await asyncio.to_thread(self._store.delete_token, request.path_params["name"], author_of(request))
        return Response(status_code=204)

    def _shown(self, token: Token) -> shapes.TokenResource:
        when = {"createdAt": token.created_at, "createdBy": token.created_by, "expired": has_expired(token)}
        expiry = {"expiresAt": token.expires_at} if token.expires_at else {}
        return msgspec.convert({"name": token.name, **_fields(token.grant), **when, **expiry}, shapes.TokenResource)


def _refused(mistakes: Sequence[Mistake]) -> Problem:
    count = "1 mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
    return Problem(422, f"{count} in the token", mistakes=mistakes)


def _fields(grant: access.Grant) -> JsonObject:
    scope = grant.scope
    bounds = {"names": scope.names, "labels": scope.labels, "hosts": scope.hosts, "contexts": scope.contexts}
    return {"role": grant.role, **bounds}


_NAME = Parameter("name", {"type": "string"}, "Of the token.")

PART = Part(
    "Tokens",
    TokenEndpoints,
    (
        Row(
            "getCaller",
            "GET",
            "/v1/caller",
            TokenEndpoints.caller,
            "caller:read",
            "Who sends the request, and what they may do.",
            {200: Answer("The caller.", (shapes.CallerResource,))},
        ),
        Row(
            "listTokens",
            "GET",
            "/v1/tokens",
            TokenEndpoints.list,
            "tokens:write",
            "The tokens, by name, without their texts.",
            {200: Answer("The tokens.", (shapes.TokenList,))},
            query=PAGED,
            refusals=(503,),
        ),
        Row(
            "createToken",
            "POST",
            "/v1/tokens",
            TokenEndpoints.create,
            "tokens:write",
            "Creates a token, whose text is in the answer and nowhere else.",
            {201: Answer("The token.", (shapes.CreatedToken,), headers={"location": "Its path."})},
            query=(REASON,),
            body=Body((shapes.WantedToken,)),
            refusals=(409, 413, 422, 503, 507),
        ),
        Row(
            "getToken",
            "GET",
            "/v1/tokens/{name}",
            TokenEndpoints.get,
            "tokens:write",
            "One token, without its text.",
            {200: Answer("The token.", (shapes.TokenResource,))},
            in_path=(_NAME,),
            refusals=(404, 503),
        ),
        Row(
            "deleteToken",
            "DELETE",
            "/v1/tokens/{name}",
            TokenEndpoints.delete,
            "tokens:write",
            "Deletes a token, which opens nothing from then on.",
            {204: Answer("It is deleted.")},
            in_path=(_NAME,),
            query=(REASON,),
            refusals=(404, 503, 507),
        ),
    ),
)
