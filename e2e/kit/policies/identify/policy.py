from typing import Any
from urllib.parse import quote

from sdk.policy import Identity, RequestAction, RequestContext, UpstreamRequestModifications


def on_request(ctx: RequestContext, params: dict[str, Any]) -> RequestAction:
    """Takes the identity from the first parameter of the path, and sends all parameters upstream."""
    ctx.identity = Identity(next(iter(ctx.path_params.values()), "nobody"), issuer="the path", method="path")
    parameters = ["=".join((name, quote(value, errors="surrogateescape"))) for name, value in ctx.path_params.items()]
    return UpstreamRequestModifications(set_headers={"x-path-params": ";".join(parameters)})
