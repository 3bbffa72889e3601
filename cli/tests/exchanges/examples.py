"""Recorded exchanges for tests, as an engine would make them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gatewright_cli.exchanges.recorded import Exchange, read

ID = "5f1c2d3e-0000-4000-8000-000000000001"
Json = dict[str, Any]


def execution(index: int, policy: str, outcome: str = "unchanged", phase: str = "request", **more: object) -> Json:
    """One that began at its index in ms, and took 0.5 ms."""
    return {
        "index": index, "policy": f"{policy}:v1.0.0", "phase": phase, "startedMs": float(index), "durationMs": 0.5,
        "workMs": 0.4, "outcome": outcome, "changes": [], **more,
    }  # fmt: skip


def change(what: str, before: object = None, after: object = None, name: str = "") -> Json:
    """A change without the members that are empty."""
    members = {"name": name or None, "before": before, "after": after}
    return {"what": what, **{key: value for key, value in members.items() if value is not None}}


def failure(kind: str, message: str, file: str = "", line: int = 0) -> Json:
    return {"class": kind, "message": message, **({"file": file, "line": line} if file else {})}


def document(*executions: Json, status: int = 200, **more: object) -> Json:
    """An exchange of GET /orders/v1.0/7?x=1 that the upstream answered; `more` overrides members."""
    return {
        "version": 1, "id": ID, "node": "node-1", "startedAt": "2026-11-26T17:10:51.123456Z", "durationMs": 12.345,
        "api": "orders", "apiVersion": "v1.0", "context": "/orders/v1.0", "operation": "GET /{id}",
        "chain": "0123456789abcdef0123456789abcdef", "client": {"address": "127.0.0.1"},
        "request": {"method": "GET", "path": "/orders/v1.0/7", "query": "x=1", "headers": [["accept", "*/*"]]},
        "response": {"status": status, "headers": []}, "answeredBy": "upstream", "outcome": "completed",
        "executions": list(executions), "redacted": 0, **more,
    }  # fmt: skip


def exchange(*executions: Json, **more: Any) -> Exchange:
    return read(json.dumps(document(*executions, **more)).encode())


def body(text: str, **more: object) -> Json:
    return {"size": len(text.encode()), "text": text, **more}


def policy_file(folder: Path) -> Path:
    """A policy that raises in its fourth line."""
    path = folder / "policy.py"
    path.write_text(
        'def on_request(context, params):\n    """One."""\n    # three\n\treturn context["tenant"]\n\n# six\n'
    )
    return path
