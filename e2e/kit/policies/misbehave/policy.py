from typing import Any

from sdk.policy import (
    RequestAction,
    RequestContext,
    ResponseAction,
    ResponseContext,
    UpstreamRequestModifications,
    UpstreamResponseModifications,
)


def on_request(ctx: RequestContext, params: dict[str, Any]) -> RequestAction:
    if params["when"] != "request":
        return None
    if params["how"] == "path":
        return UpstreamRequestModifications(path="/elsewhere")
    return misbehave(params["how"], UpstreamRequestModifications)


def on_response(ctx: ResponseContext, params: dict[str, Any]) -> ResponseAction:
    return misbehave(params["how"], UpstreamResponseModifications) if params["when"] == "response" else None


def misbehave(how: str, modifications: Any) -> Any:
    async def coroutine() -> None: ...

    if how == "raise":
        raise RuntimeError("secret detail of the policy")
    if how == "exit":
        raise SystemExit(3)
    answers = {
        "crlf": lambda: modifications(set_headers={"X-A": "b\r\nc"}),
        "escape": lambda: modifications(append_headers={"X-A": "b\x1b[1m"}),
        "set-length": lambda: modifications(set_headers={"Content-Length": "3"}),
        "drop-length": lambda: modifications(remove_headers=["content-length"]),
        "pseudo": lambda: modifications(set_headers={":status": "200"}),
        "string": lambda: "a string",
        "coroutine": coroutine,
    }
    return answers[how]()
