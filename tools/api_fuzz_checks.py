"""Checks of `make api-fuzz` that schemathesis, in an environment of its own, does not have."""

from __future__ import annotations

import os
from typing import Any

import schemathesis

RIGHTS = set(os.environ["RIGHTS"].split(","))
"""Of the token that requests are sent with."""
REFUSED = (401, 403, 405, 429)
"""405: requests are sent with other methods than the operation's, too. 429: of many without a token that is known."""


@schemathesis.check
def no_right_that_the_role_has_not(_: Any, response: Any, case: Any) -> None:
    """An operation without its right is refused, whatever is wrong with the request besides."""
    right = case.operation.definition.raw.get("x-gatewright-right")
    if right is not None and right not in RIGHTS:
        assert response.status_code in REFUSED, f"answered {response.status_code} without the right {right}"
