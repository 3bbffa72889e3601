"""From the API's answer to a tool's result."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from sdk import charsets

Json = dict[str, Any]
STATUS = "gatewright.dev/status"
"""The member of `_meta` with the API's status."""
_TEXTS = ("text/", "application/xml", "application/javascript", "application/yaml", "application/x-ndjson")


def to_result(tool: str, status: int, headers: Mapping[str, str], body: bytes) -> Json:
    """The result of a tool for an answer of the API: JSON as a structure too. A status that is no success is an
    error."""
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    is_error = not 200 <= status < 300
    content: list[Json] = [_text(describe(status, headers))] if is_error or not body else []
    result: Json = {"content": content, "isError": is_error, "_meta": {STATUS: status}}
    if not body:
        return result
    if media_type.endswith(("/json", "+json")):
        found = read_json(body)
        if found is not None:
            value = found[0]
            result["structuredContent"] = value if isinstance(value, dict) else {"result": value}
            content.append(_text(body.decode()))
            return result
    content.append(_content(tool, media_type, headers.get("content-type", ""), body))
    return result


def describe(status: int, headers: Mapping[str, str]) -> str:
    """A status in words: 404 Not Found; with the time after which the API may be asked again."""
    try:
        text = f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        text = str(status)
    wait = headers.get("retry-after", "")
    return f"The API answered {text}." + (f" Retry after: {wait[:64]}." if wait else "")


def read_json(body: bytes) -> tuple[Any] | None:
    """The value in a tuple; None: it is no JSON that clients read."""
    try:
        text = body.decode()
        value = json.loads(text, parse_constant=_refuse_constant)
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        return None
    return (value,)


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"expected JSON, got {name}")


def _content(tool: str, media_type: str, content_type: str, body: bytes) -> Json:
    kind = media_type.partition("/")[0]
    if kind in ("image", "audio"):
        return {"type": kind, "data": _encode(body), "mimeType": media_type}
    if media_type.startswith(_TEXTS) or media_type.endswith(("+xml", "/json", "+json")) or not media_type:
        try:
            return _text(charsets.decode(body, charsets.of_content_type(content_type)))
        except charsets.CharsetError:
            pass
    resource = {"uri": f"tool:{tool}", "mimeType": media_type or "application/octet-stream", "blob": _encode(body)}
    return {"type": "resource", "resource": resource}


def _text(text: str) -> Json:
    return {"type": "text", "text": text}


def _encode(body: bytes) -> str:
    return base64.b64encode(body).decode()
