import time
from typing import Any

from sdk.policy import RequestAction, RequestContext


def on_request(ctx: RequestContext, params: dict[str, Any]) -> RequestAction:
    print(f"asleep: {ctx.path}")
    time.sleep(params["seconds"])
    return None
