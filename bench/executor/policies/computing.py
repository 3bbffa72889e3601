"""Does the same as the policy headers, after computing for a while."""

from __future__ import annotations

from typing import Any

from sdk.policy import RequestAction, RequestContext

from bench.executor.policies.headers import on_request as answer


def on_request(ctx: RequestContext, params: dict[str, Any]) -> RequestAction:
    total = 0
    for number in range(params["rounds"]):
        total += number * number
    assert total >= 0
    return answer(ctx, params)
