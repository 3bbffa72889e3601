import asyncio
import time
from typing import Any

from sdk.policy import RequestAction, RequestContext


async def on_request(ctx: RequestContext, params: dict[str, Any]) -> RequestAction:
    if params["blocks"]:
        time.sleep(params["seconds"])  # that is its fault
    else:
        await asyncio.sleep(params["seconds"])
    return None
