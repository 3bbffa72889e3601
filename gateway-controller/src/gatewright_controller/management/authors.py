"""Under which terms a request writes: who asks, from where and why, for which owner, over which revisions."""

from __future__ import annotations

import re

from starlette.requests import Request

from gatewright_controller.management.callers import caller_of, permit_of
from gatewright_controller.management.preconditions import if_match
from gatewright_controller.management.problems import Problem
from gatewright_controller.management.queries import flag
from gatewright_controller.management.rows import Parameter
from gatewright_controller.management.shapes import plans
from gatewright_controller.store import Author, Terms

LONGEST_REASON = 1000
OWNER = re.compile(plans.OWNER)
OWNER_SCHEMA = {"type": "string", "pattern": f"^{OWNER.pattern}$", "examples": ["team-payments"]}
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
"""Control characters, but tab and new line."""
REASON = Parameter(
    "reason", {"type": "string", "maxLength": LONGEST_REASON}, "Why it is written: the resource's history has it."
)
TERMS = (
    REASON,
    Parameter(
        "owner",
        OWNER_SCHEMA,
        "Whose the resource is from then on; without it, it stays whose it is.",
    ),
    Parameter("take_over", {"type": "boolean", "default": False}, "Writes what another owner has, too."),
)
"""Of writes that take `terms_of`."""


def terms_of(request: Request) -> Terms:
    """`?reason=TEXT`, `?owner=NAME`, `?take_over=true`, `If-Match`. Raises `Problem`."""
    take_over = flag(request, "take_over")
    return Terms(author_of(request), owner_of(request), take_over, if_match(request), permit_of(request))


def owner_of(request: Request) -> str:
    """`?owner=NAME`; "" where there is none. Raises `Problem`."""
    owner = request.query_params.get("owner", "")
    if "owner" in request.query_params and not OWNER.fullmatch(owner):
        expected = (
            "expected owner to be a name of at most 63 of a-z, 0-9, '-', '.' and '/' that begins with one of a-z0-9"
        )
        raise Problem(400, f"{expected}, got {owner[:100]!r}")
    return owner


def author_of(request: Request) -> Author:
    """Who asks, with `?reason=TEXT`. Raises `Problem`."""
    reason = request.query_params.get("reason", "").strip()
    if len(reason) > LONGEST_REASON:
        raise Problem(400, f"expected reason to have at most {LONGEST_REASON} characters, got {len(reason)}")
    if CONTROL.search(reason):
        raise Problem(400, "expected reason to be text without control characters, got some")
    origin = request.client.host if request.client else ""
    return Author(caller_of(request).actor, origin, reason)
