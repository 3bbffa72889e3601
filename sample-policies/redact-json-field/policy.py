"""Replaces the values of JSON fields in answers, by the fields' names, at any depth.

JSON lines (application/x-ndjson, application/jsonl) go on line by line, so that an export of any size needs the memory
of a line. One that holds none of the names is not touched. A JSON document is gathered, and refused with a 502 where it
is larger than `maxBytes`, or no JSON where it seems to name a field, or in a charset that is none of `sdk.charsets`.
Anything else passes as it is.

Know its limits: what is touched is written anew, so that blanks and the notation of numbers may differ.
"""

import json
from typing import Any

from sdk.policy import Chunks, ImmediateResponse, Reject, ResponseStreamContext
from sdk.streams import StreamError, lines

from sdk import charsets

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
        raise refused("lines that end with a byte")
    async for line in lines(chunks, params["maxBytes"]):
        done = redacted(line, encoding, params) if line.strip() else line
        yield done if done is line else done + b"\n"


async def document(chunks: Chunks, encoding: str, params: dict[str, Any]) -> Chunks:
    body = bytearray()
    async for chunk in chunks:
        body += chunk
        if len(body) > params["maxBytes"]:
            raise refused(f"a document of at most {params['maxBytes']} bytes")
    yield redacted(bytes(body), encoding, params) if body else b""


def redacted(body: bytes, encoding: str, params: dict[str, Any]) -> bytes:
    """The body itself where it names none of the fields; else ValueError where it is no JSON."""
    text, fields = body.decode(encoding), frozenset(params["fields"])
    if "\\" not in text and not any(field in text for field in fields):  # an escape may be a part of a name
        return body
    return json.dumps(without(json.loads(text), fields, params["value"]), separators=(",", ":")).encode(encoding)


def without(value: Any, fields: frozenset[str], instead: Any) -> Any:
    if isinstance(value, dict):
        return {name: instead if name in fields else without(part, fields, instead) for name, part in value.items()}
    return [without(part, fields, instead) for part in value] if isinstance(value, list) else value


def refused(expected: str) -> Reject:
    return Reject(ImmediateResponse(502, {"content-type": "text/plain"}, f"expected {expected} from upstream\n"))
