"""Refusals that the clients of providers understand."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from gatewright import problems
from gatewright.headers import HeaderValue
from gatewright.made_at import set_made_at
from gatewright.policy import ImmediateResponse


def problem(
    status: int, detail: str, *, headers: Mapping[str, HeaderValue] | None = None, **members: Any
) -> ImmediateResponse:
    """Problem details, as `sdk.problems.problem` makes them, with the member `error` in which clients of providers look
    for what to show: without it, OpenAI's says no more than the status."""
    error = {"message": detail, "type": "gateway_refusal", "code": status}
    answer = problems.problem(status, detail, headers=headers, error=error, **members)
    set_made_at(answer, sys._getframe(1))
    return answer
