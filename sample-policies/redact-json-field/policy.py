"""Replaces the values of JSON fields in answers, by the fields' names, at any depth.

JSON lines (application/x-ndjson, application/jsonl) go on line by line, so that an export of any size needs the memory
of a line. One that holds none of the names is not touched. A JSON document is gathered, and refused with a 502 where it
is larger than `maxBytes`, or no JSON where it seems to name a field. Anything else passes as it is.

Know its limits: what is touched is written anew, so that blanks and the notation of numbers may differ.
"""

import json
import re
from typing import Any

from sdk.policy import Chunks, ImmediateResponse, Reject, ResponseStreamContext
from sdk.streams import lines

ESCAPED = re.compile(rb"[\\\0]")
"""A name may be written otherwise: with escapes, or in UTF-16."""
LINES = {"application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines"}


async def on_response_stream(ctx: ResponseStreamContext, chunks: Chunks, params: dict[str, Any]) -> Chunks:
    media_type = ctx.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type in LINES:
        async for line in lines(chunks, params["maxBytes"]):
            done = redacted(line, params) if line.strip() else line
            yield done if done is line else done + b"\n"
    elif media_type.endswith(("/json", "+json")):
        yield await document(chunks, params)
    else:
        async for chunk in chunks:
            yield chunk


async def document(chunks: Chunks, params: dict[str, Any]) -> bytes:
    body = bytearray()
    async for chunk in chunks:
        body += chunk
        if len(body) > params["maxBytes"]:
            raise refused(f"a document of at most {params['maxBytes']} bytes")
    try:
        return redacted(bytes(body), params) if body else b""
    except (ValueError, RecursionError):
        raise refused("JSON") from None


def redacted(text: bytes, params: dict[str, Any]) -> bytes:
    """The text itself where it names none of the fields; else ValueError where it is no JSON."""
    fields = frozenset(params["fields"])
    if not ESCAPED.search(text) and not any(field.encode() in text for field in fields):
        return text
    return json.dumps(without(json.loads(text), fields, params["value"]), separators=(",", ":")).encode()


def without(value: Any, fields: frozenset[str], instead: Any) -> Any:
    if isinstance(value, dict):
        return {name: instead if name in fields else without(part, fields, instead) for name, part in value.items()}
    return [without(part, fields, instead) for part in value] if isinstance(value, list) else value


def refused(expected: str) -> Reject:
    return Reject(ImmediateResponse(502, {"content-type": "text/plain"}, f"expected {expected} from upstream\n"))
