"""Refuses an upload that does not match a JSON Schema with a 400 that says what was expected, and where.

A JSON document is buffered, up to `maxBytes`, and goes upstream if it is valid. Of JSON lines (application/x-ndjson,
application/jsonl) each valid line goes on at once, so that an upload of any size needs the memory of a line. Other
bodies are refused with a 415.

Limits: the upstream gets the JSON lines before an invalid one. Its body is then cut off without an end, and the
upstream has to discard it.
"""

import json
from typing import Any, Protocol

import jsonschema_rs
from sdk.policy import Chunks, ImmediateResponse, Reject, RequestStreamContext
from sdk.streams import StreamError, lines

LINES = {"application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines"}


class Validator(Protocol):
    def validate(self, instance: Any) -> None: ...


def prepare(params: dict[str, Any]) -> Validator:
    return jsonschema_rs.validator_for(json.loads(json.dumps(params["schema"])), offline=True)


async def on_request_stream(ctx: RequestStreamContext, chunks: Chunks, params: dict[str, Any]) -> Chunks:
    media_type = ctx.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type in LINES:
        async for line in valid_lines(chunks, ctx.prepared, params["maxBytes"]):
            yield line
    elif media_type.endswith(("/json", "+json")):
        body = await whole(chunks, params["maxBytes"])
        check(body, ctx.prepared, "the body")
        yield body
    else:
        raise refused(415, f"expected a body of JSON or JSON lines, got {media_type or 'no content-type'}")


async def valid_lines(chunks: Chunks, validator: Validator, limit: int) -> Chunks:
    number = 0
    try:
        async for line in lines(chunks, limit):
            number += 1
            if line.strip():
                check(line, validator, f"line {number}")
            yield line
    except StreamError as error:
        raise refused(413, f"line {number + 1}: {error}") from None


async def whole(chunks: Chunks, limit: int) -> bytes:
    body = bytearray()
    async for chunk in chunks:
        body += chunk
        if len(body) > limit:
            raise refused(413, f"expected a body of at most {limit} bytes, got more")
    return bytes(body)


def check(text: bytes, validator: Validator, name: str) -> None:
    try:
        validator.validate(json.loads(text))
    except jsonschema_rs.ValidationError as error:
        where = "".join(f"/{step}" for step in error.instance_path)
        raise refused(400, f"{name}{where and ', at ' + where}: {error.message}") from None
    except (ValueError, RecursionError) as error:
        raise refused(400, f"{name}: expected JSON, got something else: {error}") from None


def refused(status: int, text: str) -> Reject:
    return Reject(ImmediateResponse(status, {"content-type": "text/plain; charset=utf-8"}, f"{text}\n"))
