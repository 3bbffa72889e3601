"""Bearer tokens (RFC 6750): how a request's token is read, and how a request without a good one is refused.

    def on_request(ctx: RequestContext, params: dict[str, Any]) -> RequestAction:
        try:
            token = bearer.token(ctx.headers)
            if token is None:
                raise bearer.missing()
            ctx.identity = verified(token)
        except bearer.RefusedError as refused:
            return refused.answer()
        return None

Whether a token is good is the policy's to find out; where it is not, the policy raises RefusedError itself. `jwt-auth`
and `oauth2-introspection`, which ship, read and refuse by this module.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Literal, NoReturn, TypeAlias

from gatewright.headers import Headers
from gatewright.policy import ImmediateResponse

__all__ = ["ErrorCode", "RefusedError", "json_object", "missing", "only", "raw_token", "token"]

ErrorCode: TypeAlias = Literal["", "invalid_request", "invalid_token", "insufficient_scope", "unavailable"]
"""Why a request is refused: a code of RFC 6750, 3.1; "" where it has no token, which has no code; `unavailable` where
nobody can say whether the token is good."""

_STATUS: dict[ErrorCode, HTTPStatus] = {
    "": HTTPStatus.UNAUTHORIZED,
    "invalid_token": HTTPStatus.UNAUTHORIZED,
    "invalid_request": HTTPStatus.BAD_REQUEST,
    "insufficient_scope": HTTPStatus.FORBIDDEN,
    "unavailable": HTTPStatus.SERVICE_UNAVAILABLE,
}
_SCHEME = re.compile(r"bearer(?![!#$%&'*+.^_`|~0-9A-Za-z-])", re.IGNORECASE)  # RFC 9110, 5.6.2: no longer name
_VISIBLE = re.compile(r"[!-~]+")
_NOT_QUOTABLE = re.compile(r"[^ !#-\[\]-~]")  # RFC 6750, 3


class RefusedError(Exception):
    """The request does not pass.

    reason: a short name for metrics and logs. text: what the client is told, which should be nothing that it has sent.
    scope: the scopes that a token needs, between spaces, with `insufficient_scope`. ValueError: no ErrorCode.
    """

    def __init__(self, reason: str, text: str = "", error: ErrorCode = "invalid_token", scope: str = "") -> None:
        super().__init__(text)
        if error not in _STATUS:
            raise ValueError(f"error: expected one of {', '.join(map(repr, _STATUS))}, got {error!r}")
        self.reason, self.text, self.error, self.scope = reason, text, error, scope

    @property
    def status(self) -> int:
        """Of the answer: 400, 401, 403 or 503."""
        return _STATUS[self.error].value

    def answer(self, realm: str = "") -> ImmediateResponse:
        """As application/problem+json, with a challenge (RFC 6750, 3; RFC 9110, 11.6.1), or with `retry-after` and 503.

        realm: the name of what is protected, if any. What the challenge cannot hold becomes `?` there: quotes,
        backslashes, control characters, all beyond ASCII.
        """
        if self.error == "unavailable":
            headers = {"retry-after": "5"}
        else:
            said = {"realm": realm, "error": self.error, "error_description": self.text, "scope": self.scope}
            attributes = (f'{name}="{_NOT_QUOTABLE.sub("?", value)}"' for name, value in said.items() if value)
            headers = {"www-authenticate": f"Bearer {', '.join(attributes)}".rstrip()}
        problem = {"type": "about:blank", "title": _STATUS[self.error].phrase, "status": self.status}
        body = json.dumps(problem | ({"detail": self.text} if self.text else {}))
        return ImmediateResponse(self.status, {"content-type": "application/problem+json", **headers}, body)


def missing() -> RefusedError:
    """For a request that has no token and needs one: its answer names the scheme, and no error (RFC 6750, 3.1)."""
    return RefusedError("missing", error="")


def token(headers: Headers, longest: int = 8192) -> str | None:
    """The request's bearer token (RFC 6750, 2.1); None where it has none, or credentials of another scheme.

    The scheme counts in any case, and ends where its name does (RFC 9110, 11.1); spaces around the token do not count.
    A token is visible ASCII: servers issue some that are no b64token. longest: characters. RefusedError: several
    Authorization headers, or behind `Bearer` stands anything but one such token; a tab is no space.
    """
    found = raw_token(headers)
    if found is not None and (len(found) > longest or not _VISIBLE.fullmatch(found)):
        raise RefusedError("malformed", "the token is not well-formed")
    return found


def raw_token(headers: Headers) -> str | None:
    """What stands behind `Bearer`, for a policy that knows by itself what its tokens look like: any text without spaces
    at its ends, of any length. None, and RefusedError, as with `token`."""
    line = only(headers.get_all("authorization"))
    bearer = _SCHEME.match(line) if line is not None else None
    return line[bearer.end() :].strip(" ") if line is not None and bearer else None


def only(lines: Sequence[str]) -> str | None:
    """The one of them, None where there is none: for a token in another header, a cookie or the query.

    RefusedError: there are several, of which upstream might take another one than we do (RFC 6750, 2 and 3.1).
    """
    if len(lines) > 1:
        raise RefusedError("several", "expected one token, got several", "invalid_request")
    return lines[0] if lines else None


# ------------------------------------------------------------------ JSON


def json_object(raw: bytes) -> dict[str, Any]:
    """A JSON object that all readers read alike: the claims of a token, keys, what a server says of a token.

    ValueError: it is none, or too deep; a member stands in it twice (RFC 8259, 4; RFC 7519, 4); a number is NaN, or
    more than a float can hold; a text has half of a surrogate pair (RFC 8259, 8.2).
    """
    text = raw.decode()
    try:
        value = _DECODER.decode(text)
        if "\\ud" in text or "\\uD" in text:
            json.dumps(value, ensure_ascii=False).encode()  # half of a surrogate pair is no text
    except RecursionError:
        raise ValueError("expected JSON of less depth") from None
    if not isinstance(value, dict):
        raise ValueError("expected a JSON object")
    return value


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("expected each member once")  # another reader might take the other one
    return members


def _number(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError("expected numbers that a float can hold")
    return number


def _refuse(text: str) -> NoReturn:
    raise ValueError(f"expected JSON, got {text}")


_DECODER = json.JSONDecoder(object_pairs_hook=_members, parse_float=_number, parse_constant=_refuse)
