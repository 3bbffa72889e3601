"""Whether a caller may do what they ask: asked before an endpoint is called, and of each API that it touches."""

from __future__ import annotations

from starlette.requests import Request

from gatewright_controller.access import Caller, Permit
from gatewright_controller.management.problems import Problem
from gatewright_controller.management.rows import CALLER, Row

PERMIT = "gatewright_permit"
"""Of a scope: what the request may touch."""


async def permitted(row: Row, request: Request) -> None:
    """Raises `Problem` where the caller has not the row's right."""
    if row.right is None:
        return
    caller = caller_of(request)
    if (permit := caller.permit(row.right)) is None:
        if caller.lack:
            raise Problem(403, f"{caller.actor} has no role here: {caller.lack}")
        grants = {f"{grant.role}{'' if grant.scope.is_every_api else ' for some APIs'}" for grant in caller.grants}
        roles = " and ".join(sorted(grants)) or "none"
        raise Problem(403, f"{caller.actor} has not the right {row.right}, which this needs; its role is {roles}")
    request.scope[PERMIT] = permit


def caller_of(request: Request) -> Caller:
    """Who sends the request."""
    caller: Caller = request.scope[CALLER]
    return caller


def permit_of(request: Request) -> Permit:
    """What the request may touch, by the right that its row needs."""
    permit: Permit = request.scope[PERMIT]
    return permit
