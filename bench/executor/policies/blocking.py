"""Does the same as the policy headers; each `every`-th call sleeps `seconds` before it."""

from __future__ import annotations

import itertools
import time
from typing import Any

from sdk.policy import RequestAction, RequestContext

from bench.executor.policies.headers import on_request as answer

calls = itertools.count(1)


def on_request(ctx: RequestContext, params: dict[str, Any]) -> RequestAction:
    if next(calls) % params["every"] == 0:
        time.sleep(params["seconds"])
    return answer(ctx, params)
