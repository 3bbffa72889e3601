"""Sends the provider its key in place of the client's."""

from typing import Any

from sdk.policy import RequestAction, RequestContext, UpstreamRequestModifications


def on_request(ctx: RequestContext, params: dict[str, Any]) -> RequestAction:
    return UpstreamRequestModifications(set_headers={"authorization": f"Bearer {params['key'].reveal()}"})
