from typing import Any

from sdk.policy import RequestAction, RequestContext, UpstreamRequestModifications
from sdk.store import Store


def prepare(params: dict[str, Any]) -> Store:
    return Store("tally", timeout=params["timeout"], shared=params["shared"])


def on_request(ctx: RequestContext, params: dict[str, Any]) -> RequestAction:
    store: Store = ctx.prepared
    key = ctx.headers.get("x-key") or "all"
    if params["value"]:
        store.set(f"{key} value", b"x" * params["value"], ttl=600)
    count = store.increment(key, ttl=600)
    return UpstreamRequestModifications(set_headers={"x-tally": str(count)})
