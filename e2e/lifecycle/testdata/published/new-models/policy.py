from typing import Any

import pydantic
from sdk.policy import RequestAction, RequestContext, UpstreamRequestModifications


class Seen(pydantic.BaseModel):
    path: str


def on_request(ctx: RequestContext, params: dict[str, Any]) -> RequestAction:
    request = Seen(path=ctx.path)
    return UpstreamRequestModifications(set_headers={"x-new-models": f"{pydantic.VERSION} {request.path}"})
