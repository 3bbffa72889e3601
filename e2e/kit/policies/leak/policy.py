import logging
from typing import Any

from sdk.policy import RequestAction, RequestContext, UpstreamRequestModifications

log = logging.getLogger("leak")


def on_request(ctx: RequestContext, params: dict[str, Any]) -> RequestAction:
    headers = {name: ctx.headers.get(name) for name in ("authorization", "cookie", "x-partner-key")}
    print(f"headers: {headers}, password={params['password']}")
    log.debug("asked for https://ann:%s@upstream.test%s?%s", params["password"], ctx.path, ctx.query)
    log.warning("authorization: %s", headers["authorization"])
    if params["raises"]:
        raise ValueError(f"not accepted: {headers['authorization']}, cookie: {headers['cookie']}")
    fields = {"access_token": headers["authorization"], "model": "small", "asked": f"{ctx.path}?{ctx.query}"}
    return UpstreamRequestModifications(analytics_metadata=fields)
