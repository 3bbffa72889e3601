"""Every error of the API is `application/problem+json` (RFC 9457), and says nothing of our insides."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from gatewright_documents.mistake import Invalid, Mistake, Unreadable
from msgspec import UNSET
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from gatewright_controller.access import STRANGER, NotPermittedError
from gatewright_controller.gateway.gateways import GatewayOfFileError, NoGatewayError
from gatewright_controller.kinds import KINDS
from gatewright_controller.management.json_answer import JsonAnswer
from gatewright_controller.management.plan_shapes import shaped_plan
from gatewright_controller.management.problem_types import NO_DATABASE
from gatewright_controller.management.rows import CALLER
from gatewright_controller.management.shapes import problem as shapes
from gatewright_controller.oidc import ProviderAwayError
from gatewright_controller.plans import ForeignError, MovedError
from gatewright_controller.store import (
    API,
    GATEWAY,
    ApiExistsError,
    ConsumerKeyExistsError,
    ConsumerKeyInUseError,
    NoSuchApiError,
    NoSuchConsumerKeyError,
    NoSuchResourceError,
    NoSuchRevisionError,
    NoSuchTokenError,
    OtherOwnerError,
    OtherRevisionError,
    StorageError,
    TokenExistsError,
)

log = logging.getLogger(__name__)
RETRY_SECONDS = "5"
MOST_NAMED = 10
PROBLEM = "application/problem+json"


class Problem(Exception):  # noqa: N818 - RFC 9457's word
    """An answer other than success. `detail` is for the client; `mistakes` are what the client has to correct."""

    def __init__(
        self, status: int, detail: str, headers: Mapping[str, str] | None = None, mistakes: Sequence[Mistake] = ()
    ) -> None:
        self.status, self.detail, self.headers, self.mistakes = status, detail, headers, mistakes
        super().__init__(detail)


def problem_response(status: int, detail: str, headers: Mapping[str, str] | None = None, **members: Any) -> Response:
    """A response with status, title and detail as RFC 9457 has them, and `members` of the shape beside them."""
    title = HTTPStatus(status).phrase
    content = shapes.Problem(title=title, status=status, detail=detail, **members)
    return JsonAnswer(content, status, headers, media_type=PROBLEM)


def _on_problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    errors = [_shown(mistake) for mistake in error.mistakes] or UNSET
    return problem_response(error.status, error.detail, error.headers, errors=errors)


def _on_invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, Invalid)
    errors = [_shown(mistake) for mistake in error.mistakes]
    detail = "1 mistake in the definition" if len(errors) == 1 else f"{len(errors)} mistakes in the definition"
    return problem_response(422, detail, errors=errors)


def _on_unreadable(_: Request, error: Exception) -> Response:
    assert isinstance(error, Unreadable)
    return problem_response(400, "the body cannot be read", errors=[_shown(mistake) for mistake in error.mistakes])


def _shown(mistake: Mistake) -> shapes.ProblemMistake:
    field = ": ".join(part for part in (mistake.file, mistake.field) if part)
    return shapes.ProblemMistake(field=field, message=mistake.message, line=mistake.line or UNSET)


def _on_exists(_: Request, error: Exception) -> Response:
    return problem_response(409, f"there is an API {error} already; PUT /v1/apis/{error} changes it")


def _on_missing(_: Request, error: Exception) -> Response:
    return problem_response(404, f"there is no API {error}; POST /v1/apis creates one")


def _on_other_revision(_: Request, error: Exception) -> Response:
    assert isinstance(error, OtherRevisionError)
    resource, path = _resource(error.kind, error.name)
    if not error.revision:
        return problem_response(412, f"{resource} is not there, so no ETag fits; leave If-Match out", revision=0)
    cure = (
        f"GET {path} has it: make the change anew on that, and send its ETag as If-Match; "
        "without If-Match what is there is replaced, whatever it is"
    )
    detail = f"{resource} has been written since: it has revision {error.revision} of {error.updated_at}"
    return problem_response(412, f"{detail}; {cure}", revision=error.revision, updated_at=error.updated_at)


def _on_other_owner(_: Request, error: Exception) -> Response:
    assert isinstance(error, OtherOwnerError)
    resource, _path = _resource(error.kind, error.name)
    cure = "leave it to that owner, or take it over: take_over=true, --take-over of a command"
    detail = f"{resource} is owned by {error.owner}, and this is a write for {error.wanted}; {cure}"
    return problem_response(409, detail, owner=error.owner)


def _on_no_revision(_: Request, error: Exception) -> Response:
    assert isinstance(error, NoSuchRevisionError)
    resource, path = _resource(error.kind, error.name)
    if error.oldest is None or error.newest is None:
        return problem_response(404, f"{resource} was never written, or its history is pruned since it was deleted")
    if error.revision <= 0:
        detail = f"{resource} has no write {-error.revision} before its newest, {error.newest}"
        detail = f"{detail}: the oldest that is kept is {error.oldest} (historyKeep says how many are)"
    elif error.revision < error.oldest:
        detail = f"{resource} has no revision {error.revision}: the oldest that is kept is {error.oldest}"
        detail = f"{detail}, since the controller keeps the newest of each resource alone (historyKeep)"
    else:
        detail = f"{resource} has no revision {error.revision}, its newest is {error.newest}"
    return problem_response(404, f"{detail}; GET {path}/revisions lists them")


def _resource(kind: str, name: str) -> tuple[str, str]:
    """What a resource is called, and its path."""
    if kind == GATEWAY:
        return "the Gateway", "/v1/gateway"
    plural = {API: "apis", **{other.name: other.plural for other in KINDS}}[kind]
    return f"the {'API' if kind == API else kind} {name}", f"/v1/{plural}/{name}"


def _on_no_resource(_: Request, error: Exception) -> Response:
    assert isinstance(error, NoSuchResourceError)
    _resource_name, path = _resource(error.kind, error.name)
    return problem_response(404, f"{error}; PUT {path} creates one")


def _on_foreign(_: Request, error: Exception) -> Response:
    assert isinstance(error, ForeignError)
    cure = "nothing was changed; leave it to that owner, or take it over: takeOver, --take-over of a command"
    owner = error.resources[0][2]
    return problem_response(409, f"{error}, and this is applied for {error.owner}; {cure}", owner=owner)


def _on_moved(_: Request, error: Exception) -> Response:
    assert isinstance(error, MovedError)
    names = [f"the API {name} was written since" for name in error.moved[:MOST_NAMED]]
    more = len(error.moved) - MOST_NAMED
    moved = ", ".join([*names, f"{more} more"] if more > 0 else names)
    since = moved or "what it is made of has changed, such as the build's policies"
    detail = f"the plan is no longer what would be done: {since}; nothing was changed: look at it anew, and apply that"
    return problem_response(409, detail, plan=shaped_plan(error.plan))


def _on_gateway_of_file(_: Request, error: Exception) -> Response:
    cure = "change it there and reload, or move it away"
    return problem_response(409, f"what nodes listen on is written in {error}; {cure}")


def _on_no_gateway(_: Request, __: Exception) -> Response:
    return problem_response(404, "no Gateway was written here; PUT /v1/gateway writes one")


def _on_not_permitted(_: Request, error: Exception) -> Response:
    return problem_response(403, str(error))


def _on_token_exists(_: Request, error: Exception) -> Response:
    return problem_response(409, f"there is a token {error} already; delete it first, or name this one differently")


def _on_no_token(_: Request, error: Exception) -> Response:
    return problem_response(404, f"there is no token {error}; GET /v1/tokens lists them")


def _on_consumer_key_exists(_: Request, error: Exception) -> Response:
    assert isinstance(error, ConsumerKeyExistsError)
    cure = "delete it first, or name this one differently" if error.name else "delete one of them first"
    return problem_response(409, f"the consumer {error}; {cure}")


def _on_consumer_key_in_use(_: Request, __: Exception) -> Response:
    cure = "leave `key` out, so that the controller makes another one, and hand that out"
    return problem_response(409, f"this key is in use already: a key belongs to one consumer; {cure}")


def _on_no_consumer_key(_: Request, error: Exception) -> Response:
    assert isinstance(error, NoSuchConsumerKeyError)
    return problem_response(404, f"the consumer {error}; GET /v1/consumers/{error.consumer}/keys lists them")


def on_storage(request: Request, error: Exception) -> Response:
    """The database does not do now what is asked of it."""
    assert isinstance(error, StorageError)
    if not error.away:  # which the store logs, once for each reason
        log.error("storage failed", extra={"reason": str(error), "method": request.method, "path": request.url.path})
    if error.full:
        return problem_response(507, "there is no room to store the change; what was stored before is as it was")
    stored = "what was stored before is as it was"
    if error.unknown:
        stored = "it is not known whether the change was stored: read it again"
    if not error.away:
        detail = f"the controller's storage does not answer, and its log says why; {stored}"
        return problem_response(503, detail, {"retry-after": RETRY_SECONDS})
    is_known = request.scope.get(CALLER, STRANGER) != STRANGER  # a stranger is not told where the database is
    reason = str(error) if is_known else "the controller has no connection to its database, and its log says why"
    return problem_response(503, f"{reason}; {stored}", {"retry-after": RETRY_SECONDS}, type=NO_DATABASE)


def on_provider_away(_: Request, error: Exception) -> Response:
    """The OpenID provider does not answer now."""
    return problem_response(503, f"{error}; tokens of this controller are accepted", {"retry-after": RETRY_SECONDS})


def _on_http(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return problem_response(error.status_code, "there is nothing at this path for this method", error.headers)


def _on_fault(request: Request, error: Exception) -> Response:
    log.error("request failed", exc_info=error, extra={"method": request.method, "path": request.url.path})
    return problem_response(500, "the controller failed; its log says why")


def _on_gone(_: Request, error: Exception) -> Response:
    assert isinstance(error, ClientDisconnect)
    return problem_response(
        400, "the request has ended before its body did"
    )  # the response is not sent: the client has gone


HANDLERS = {
    ClientDisconnect: _on_gone,
    Problem: _on_problem,
    Invalid: _on_invalid,
    Unreadable: _on_unreadable,
    ApiExistsError: _on_exists,
    NoSuchApiError: _on_missing,
    NoSuchResourceError: _on_no_resource,
    NoSuchRevisionError: _on_no_revision,
    OtherOwnerError: _on_other_owner,
    OtherRevisionError: _on_other_revision,
    ForeignError: _on_foreign,
    MovedError: _on_moved,
    GatewayOfFileError: _on_gateway_of_file,
    NoGatewayError: _on_no_gateway,
    NotPermittedError: _on_not_permitted,
    ConsumerKeyExistsError: _on_consumer_key_exists,
    ConsumerKeyInUseError: _on_consumer_key_in_use,
    NoSuchConsumerKeyError: _on_no_consumer_key,
    TokenExistsError: _on_token_exists,
    NoSuchTokenError: _on_no_token,
    StorageError: on_storage,
    ProviderAwayError: on_provider_away,
    HTTPException: _on_http,
    Exception: _on_fault,
}
