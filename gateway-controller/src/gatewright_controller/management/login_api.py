"""The management API's /v1/login: people log in at the OpenID provider, and a page gets the JWT for it.

The page has its user go to the provider, which sends them back with a code. The code is exchanged here, not by the
page, which asks no other server than its own.
"""

from __future__ import annotations

from typing import NoReturn

import msgspec
from gatewright_documents.mistake import Invalid
from gatewright_documents.strict import mistakes_of
from starlette.requests import Request
from starlette.responses import Response

from gatewright_controller.management.bodies import ReadObject
from gatewright_controller.management.json_answer import JsonAnswer
from gatewright_controller.management.problems import Problem
from gatewright_controller.management.rate_limits import RateLimit, refuse_more
from gatewright_controller.management.rows import CALLER, Answer, Body, Part, Row
from gatewright_controller.management.shapes import access as shapes
from gatewright_controller.oidc import NotSignedInError, People, ProviderAnswer

NO_STORE = {"cache-control": "no-store"}


class LoginEndpoints:
    """For clients that have no token yet. people: None where OIDC is not configured."""

    def __init__(self, people: People | None, read: ReadObject) -> None:
        self._people, self._read = people, read
        self._limit = RateLimit(rate=1.0, burst=30.0)

    async def place(self, _: Request) -> Response:
        """An empty object where people do not log in here."""
        place = await self._people.login_place() if self._people else None
        if place is None:
            return JsonAnswer(shapes.LoginPlace(), headers=NO_STORE)
        shaped = shapes.LoginPlace(place.authorization_endpoint, place.client_id, place.scope)
        return JsonAnswer(shaped, headers=NO_STORE)

    async def log_in(self, request: Request) -> Response:
        """401 with the reason; 403 for whom no grant fits; 404 where OIDC is not configured."""
        if self._people is None:
            raise Problem(404, "people do not log in here: the controller has no setting oidc")
        refuse_more(self._limit.take(request.client.host if request.client else ""), "logins")
        document = await self._read(request)
        if mistakes := list(mistakes_of(shapes.WantedLogin, document)):
            raise Invalid(mistakes)
        wanted = msgspec.convert(document, shapes.WantedLogin)
        answer = ProviderAnswer(wanted.code, wanted.code_verifier, wanted.redirect_uri, wanted.nonce)
        try:
            logged_in = await self._people.log_in(answer)
        except NotSignedInError as error:
            _refuse(str(error))
        caller = request.scope[CALLER] = logged_in.caller  # the audit log names them
        if caller.lack:
            raise Problem(403, f"{caller.actor} has no role here: {caller.lack}")
        return JsonAnswer(shapes.Login(logged_in.jwt, caller.actor), headers=NO_STORE)


def _refuse(reason: str) -> NoReturn:
    raise Problem(401, reason, {"www-authenticate": "Bearer"})


PART = Part(
    "Login",
    LoginEndpoints,
    (
        Row(
            "getLogin",
            "GET",
            "/v1/login",
            LoginEndpoints.place,
            None,
            "Where a page has people log in, as which client; empty where they do not.",
            {200: Answer("The place.", (shapes.LoginPlace,))},
            refusals=(503,),
        ),
        Row(
            "logIn",
            "POST",
            "/v1/login",
            LoginEndpoints.log_in,
            None,
            "Exchanges the code of a login for the JWT with which its person comes.",
            {200: Answer("The JWT.", (shapes.Login,))},
            body=Body((shapes.WantedLogin,)),
            refusals=(401, 403, 404, 413, 422, 429, 503),
            audit="all",
        ),
    ),
)
