"""The naive executor's policy: in both phases it reads a header and a parameter, sets a header, and removes another."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Message:
    """A request or a response."""

    headers: dict[str, list[str]]
    body: bytes
    method: str = ""
    path: str = ""
    authority: str = ""
    scheme: str = ""
    status: int = 0


@dataclass
class Context:
    """The context of the policy's call."""

    request: Message
    response: Message | None
    request_id: str
    api_name: str
    operation: str
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass
class Action:
    """The result of a call."""

    set_headers: dict[str, list[str]] = field(default_factory=dict)
    remove_headers: list[str] = field(default_factory=list)


def on_request(context: Context, params: dict[str, Any]) -> Action:
    tenant = context.request.headers.get("x-tenant", [""])[0]
    return Action({params["headerName"]: [params["headerValue"] + tenant]}, ["x-internal"])


def on_response(context: Context, params: dict[str, Any]) -> Action:
    assert context.response is not None
    kind = context.response.headers.get("content-type", [""])[0]
    return Action({params["headerName"]: [params["headerValue"] + kind]}, ["x-internal"])
