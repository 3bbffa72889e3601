"""Refusals that programs can read: problem details for HTTP (RFC 9457).

    if len(ctx.body or b"") > params["maxBytes"]:
        return problem(413, f"the body may have {params['maxBytes']} bytes")

The gateway's own errors have the same form.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from gatewright.headers import HeaderValue
from gatewright.made_at import set_made_at
from gatewright.policy import ImmediateResponse

__all__ = ["CONTENT_TYPE", "problem"]

CONTENT_TYPE = "application/problem+json"


def problem(
    status: int,
    detail: str = "",
    *,
    title: str = "",
    headers: Mapping[str, HeaderValue] | None = None,
    **members: Any,
) -> ImmediateResponse:
    """An answer to the client instead of the upstream's.

    detail: what is wrong with this request, for people; it should repeat nothing that the client has sent. title: what
    is wrong with all requests that get this status here; without it, the status's name. headers: further ones.
    members: further members of the object, for programs: values of JSON.
    """
    body: dict[str, Any] = {"type": "about:blank", "title": title or _name_of(status), "status": status}
    if detail:
        body["detail"] = detail
    answer = ImmediateResponse(status, {"content-type": CONTENT_TYPE, **(headers or {})}, json.dumps(body | members))
    set_made_at(answer, sys._getframe(1))
    return answer


def _name_of(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return f"Status {status}"
