"""Replaces the values of JSON fields in responses, by the fields' names, at any depth.

JSON lines (application/x-ndjson, application/jsonl) go on line by line, so that an export of any size needs the memory
of a line. A line or document without the names stays unchanged. A JSON document is buffered, and refused with a 502 if
it is larger than `maxBytes`, has a name but is no JSON, or is in a charset that is not one of `sdk.charsets`. Other
bodies pass unchanged.

Limits: changed JSON is written anew, so that whitespace and the notation of numbers may differ.
"""

import json
from typing import Any

from sdk import charsets
from sdk.policy import Chunks, ImmediateResponse, Reject, ResponseStreamContext
from sdk.streams import StreamError, lines

LINES = {"application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines"}


async def on_response_stream(ctx: ResponseStreamContext, chunks: Chunks, params: dict[str, Any]) -> Chunks:
    content_type = ctx.headers.get("content-type", "")
    media_type = content_type.partition(";")[0].strip().lower()
    is_lines = media_type in LINES
    if not is_lines and not media_type.endswith(("/json", "+json")):
        async for chunk in chunks:
            yield chunk
        return
    read = redacted_lines if is_lines else document
    try:
        encoding, chunks = await charsets.detect_stream(chunks, charsets.of_content_type(content_type))
        async for piece in read(chunks, encoding, params):
            yield piece
    except StreamError:
        raise refused(f"lines of at most {params['maxBytes']} bytes") from None
    except (ValueError, RecursionError):
        raise refused("JSON") from None


async def redacted_lines(chunks: Chunks, encoding: str, params: dict[str, Any]) -> Chunks:
    if encoding == "utf-16":
        raise refused("lines in an encoding with one byte for a line end")
    async for line in lines(chunks, params["maxBytes"]):
        result = redacted(line, encoding, params) if line.strip() else line
        yield result if result is line else result + b"\n"


async def document(chunks: Chunks, encoding: str, params: dict[str, Any]) -> Chunks:
    body = bytearray()
    async for chunk in chunks:
        body += chunk
        if len(body) > params["maxBytes"]:
            raise refused(f"a document of at most {params['maxBytes']} bytes")
    yield redacted(bytes(body), encoding, params) if body else b""


def redacted(body: bytes, encoding: str, params: dict[str, Any]) -> bytes:
    """The redacted body; the body itself if it has none of the names. ValueError: it has one, but is no JSON."""
    text, fields = body.decode(encoding), frozenset(params["fields"])
    if "\\" not in text and not any(field in text for field in fields):  # an escape may be part of a name
        return body
    return json.dumps(without(json.loads(text), fields, params["value"]), separators=(",", ":")).encode(encoding)


def without(value: Any, fields: frozenset[str], instead: Any) -> Any:
    if isinstance(value, dict):
        return {name: instead if name in fields else without(part, fields, instead) for name, part in value.items()}
    return [without(part, fields, instead) for part in value] if isinstance(value, list) else value


def refused(expected: str) -> Reject:
    return Reject(ImmediateResponse(502, {"content-type": "text/plain"}, f"expected {expected} from upstream\n"))
