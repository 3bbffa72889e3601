"""A policy that tries what it must not reach: GET …/NAME runs the try NAME.

The header x-where tells it, as JSON, where everything is (see e2e/hostile/where.py): what it is refused, it is refused
by the machine, and not by what it does not know. The answer is JSON, {"reached": {target: proof}, "refused": {target:
reason}}.
"""

import json
from collections.abc import Callable
from typing import Any

from sdk.policy import ImmediateResponse, RequestAction, RequestContext

from . import files, kernel, network, processes, same_process, sockets, staying, storms
from .evidence import Evidence

TRIES: dict[str, Callable[[dict[str, Any]], Evidence]] = {
    **same_process.TRIES,
    **processes.TRIES,
    **files.TRIES,
    **sockets.TRIES,
    **network.TRIES,
    **kernel.TRIES,
    **storms.TRIES,
    **staying.TRIES,
}


def on_request(ctx: RequestContext, params: dict[str, Any]) -> RequestAction:
    name, where = ctx.path.rsplit("/", 1)[1], json.loads(ctx.headers["x-where"])
    answer = json.dumps(TRIES[name](where)).encode()
    return ImmediateResponse(200, headers={"content-type": "application/json"}, body=answer)
