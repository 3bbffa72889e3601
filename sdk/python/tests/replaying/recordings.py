"""Recorded exchanges as a gateway writes them, to replay the policy `tag`."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

Json = dict[str, Any]
BOTH = "{requestHeaderMode: PROCESS, responseHeaderMode: PROCESS}"
BODIES = "{requestBodyMode: BUFFER, responseBodyMode: BUFFER}"
STREAMS = "{requestBodyMode: STREAM, responseBodyMode: STREAM}"
Write = Callable[..., ModuleType]


def message(**members: Any) -> Json:
    headers = members.pop("headers", [["x-a", "1"], ["x-b", "2"], ["x-a", "3"]])
    return {"headers": headers, **members}


def exchange(*executions: Json, **members: Any) -> Json:
    """A GET of /shop/x of which the policy `tag` is the second of three."""
    request = {"method": "GET", "scheme": "http", "authority": "shop.example", "path": "/shop/x", "query": "q=1"}
    asked = message(**{**request, **members.pop("request", {})})
    return {
        "version": 1, "id": "id-1", "api": "shop", "apiVersion": "v1.0", "context": "/shop", "operation": "GET /*",
        "policies": ["first:v1.0.0", "tag:v1.0.0", "last:v1.0.0"], "client": {"address": "127.0.0.1:4711"},
        "request": asked, "forwarded": {**asked, "atMs": 1}, "outcome": "completed", "answeredBy": "upstream",
        "upstreamResponse": message(status=200, headers=[["server", "s"]]),
        "response": message(status=200, headers=[["server", "s"]]), "executions": list(executions), "redacted": 0,
        **members,
    }  # fmt: skip


def execution(index: int, phase: str, *changes: Json, **members: Any) -> Json:
    name = ("first", "tag", "last")[index]
    outcome = "changed" if changes else "unchanged"
    started = {"request": 1, "request_stream": 2, "response": 10, "response_stream": 11}[phase]
    made = {"index": index, "policy": f"{name}:v1.0.0", "phase": phase, "startedMs": started + index * 0.1}
    return {**made, "durationMs": 0.01, "outcome": outcome, "changes": list(changes), **members}


def change(what: str, name: str = "", **sides: Any) -> Json:
    return {"what": what, **({"name": name} if name else {}), **sides}


def body(text: str, **members: Any) -> Json:
    return {"size": len(text.encode()), "text": text, **members}


TAGGED = execution(1, "request", change("header", "x-tag", after=["gold"]))
TAGGING = """def on_request(ctx, params):
    return UpstreamRequestModifications(set_headers={"x-tag": params.get("tag", "gold")})
"""
QUIET = "def on_response(ctx, params): return None\n"
