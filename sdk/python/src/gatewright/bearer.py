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

The policy verifies the token itself, and raises RefusedError for one that is not good. The policies `jwt-auth` and
`oauth2-introspection`, which ship, use this module.
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
"""Why a request is refused: a code of RFC 6750, 3.1; "" for a request without a token, which has no code;
`unavailable` if the token cannot be verified now."""

_STATUS: dict[ErrorCode, HTTPStatus] = {
    "": HTTPStatus.UNAUTHORIZED,
    "invalid_token": HTTPStatus.UNAUTHORIZED,
    "invalid_request": HTTPStatus.BAD_REQUEST,
    "insufficient_scope": HTTPStatus.FORBIDDEN,
    "unavailable": HTTPStatus.SERVICE_UNAVAILABLE,
}
_SCHEME = re.compile(r"bearer(?![!#$%&'*+.^_`|~0-9A-Za-z-])", re.IGNORECASE)  # and no longer name (RFC 9110, 5.6.2)
_VISIBLE = re.compile(r"[!-~]+")
_NOT_QUOTABLE = re.compile(r"[^ !#-\[\]-~]")  # RFC 6750, 3


class RefusedError(Exception):
    """The policy refuses the request.

    reason: a short name for metrics and logs. text: for the client; it should repeat nothing that the client has sent.
    scope: with `insufficient_scope`, the scopes that a token needs, separated by spaces. ValueError: `error` is no
    ErrorCode.
    """

    def __init__(self, reason: str, text: str = "", error: ErrorCode = "invalid_token", scope: str = "") -> None:
        super().__init__(text)
        if error not in _STATUS:
            raise ValueError(f"error: expected one of {', '.join(map(repr, _STATUS))}, got {error!r}")
        self.reason, self.text, self.error, self.scope = reason, text, error, scope

    @property
    def status(self) -> int:
        """The status code of the answer: 400, 401, 403 or 503."""
        return _STATUS[self.error].value

    def answer(self, realm: str = "") -> ImmediateResponse:
        """The answer as application/problem+json, with a challenge (RFC 6750, 3; RFC 9110, 11.6.1); for `unavailable`
        503 with `retry-after`.

        realm: the name of the protected area, if any. Characters that a challenge cannot hold (quotes, backslashes,
        control characters, all beyond ASCII) become `?` in it.
        """
        if self.error == "unavailable":
            headers = {"retry-after": "5"}
        else:
            attributes = {"realm": realm, "error": self.error, "error_description": self.text, "scope": self.scope}
            quoted = (f'{name}="{_NOT_QUOTABLE.sub("?", value)}"' for name, value in attributes.items() if value)
            headers = {"www-authenticate": f"Bearer {', '.join(quoted)}".rstrip()}
        problem = {"type": "about:blank", "title": _STATUS[self.error].phrase, "status": self.status}
        body = json.dumps(problem | ({"detail": self.text} if self.text else {}))
        return ImmediateResponse(self.status, {"content-type": "application/problem+json", **headers}, body)


def missing() -> RefusedError:
    """The error for a request that needs a token and has none: its answer names no error (RFC 6750, 3.1)."""
    return RefusedError("missing", error="")


def token(headers: Headers, longest: int = 8192) -> str | None:
    """The request's bearer token (RFC 6750, 2.1); None if it has none, or credentials of another scheme.

    The scheme's case does not matter (RFC 9110, 11.1), nor do spaces around the token. A token is visible ASCII, since
    servers issue tokens that are no b64token. longest: in characters. RefusedError: there are several Authorization
    headers, or `Bearer` is followed by anything but one such token; a tab is no space.
    """
    credentials = raw_token(headers)
    if credentials is not None and (len(credentials) > longest or not _VISIBLE.fullmatch(credentials)):
        raise RefusedError("malformed", "the token is not well-formed")
    return credentials


def raw_token(headers: Headers) -> str | None:
    """The text after `Bearer`, for a policy that checks the form of its tokens itself: any text of any length, without
    spaces at its ends. None and RefusedError as for `token`."""
    line = only(headers.get_all("authorization"))
    bearer = _SCHEME.match(line) if line is not None else None
    return line[bearer.end() :].strip(" ") if line is not None and bearer else None


def only(lines: Sequence[str]) -> str | None:
    """The only item of `lines`, None if there is none: for a token in another header, a cookie or the query.

    RefusedError: there are several, and the upstream might use another one than the policy (RFC 6750, 2 and 3.1).
    """
    if len(lines) > 1:
        raise RefusedError("several", "expected one token, got several", "invalid_request")
    return lines[0] if lines else None


# ------------------------------------------------------------------ JSON


def json_object(raw: bytes) -> dict[str, Any]:
    """Parses a JSON object that has one meaning for all readers: claims of a token, keys, an introspection response.

    ValueError: it is no JSON object, or nested too deeply; a member occurs twice (RFC 8259, 4; RFC 7519, 4); a number
    is NaN or more than a float can hold; a text has half of a surrogate pair (RFC 8259, 8.2).
    """
    text = raw.decode()
    try:
        value = _DECODER.decode(text)
        if "\\ud" in text or "\\uD" in text:
            json.dumps(value, ensure_ascii=False).encode()  # half of a surrogate pair is no text
    except RecursionError:
        raise ValueError("expected JSON that is not nested so deeply") from None
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
