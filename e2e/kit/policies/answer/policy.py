from typing import Any

from sdk.policy import ImmediateResponse, RequestAction, RequestContext, ResponseAction, ResponseContext


def on_request(ctx: RequestContext, params: dict[str, Any]) -> RequestAction:
    return answer(params) if params["when"] == "request" else None


def on_response(ctx: ResponseContext, params: dict[str, Any]) -> ResponseAction:
    return answer(params) if params["when"] == "response" else None


def answer(params: dict[str, Any]) -> ImmediateResponse:
    return ImmediateResponse(params["status"], {"x-answered": params["when"]}, params["body"].encode())
