"""A write that is for one revision alone: `If-Match` (RFC 9110, 13.1.1), and the ETag that it names."""

from __future__ import annotations

import re

from starlette.requests import Request

from gatewright_controller.management.problems import Problem
from gatewright_controller.management.rows import Parameter
from gatewright_controller.store import ExpectedRevisions

TAG = re.compile('"([0-9]{1,18})"')
ETAG = {"etag": "Names the revision, for `If-Match`."}
IF_MATCH = Parameter(
    "if-match",
    {"type": "string", "examples": ['"12"']},
    "The ETag of the resource as it was read: 412 if it has been written since. Without it, or with `*`, any is meant.",
)


def etag(revision: int) -> str:
    """What names the resource's document as it is, in whatever form it is shown; its status has no part in that."""
    return f'"{revision}"'


def if_match(request: Request) -> ExpectedRevisions:
    """The revisions in `If-Match: "12"`; None where there is none, or `*`. Raises `Problem`."""
    tags = [tag.strip() for line in request.headers.getlist("if-match") for tag in line.split(",")]
    if tags in ([], ["*"]):
        return None
    found = [TAG.fullmatch(tag) for tag in tags]
    if not all(found):
        got = ", ".join(tags)[:100]
        raise Problem(
            400, f'expected If-Match to have the ETag that a GET of the resource gave, such as "12", got {got}'
        )
    return frozenset(int(tag[1]) for tag in found if tag)
