"""Does what its parameters say, as policy.go beside it does: conformance/README.md has the grammar."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from gatewright.peer import encode_peer
from sdk import streams
from sdk.policy import (
    Attempt,
    Chunks,
    ImmediateResponse,
    Reject,
    RequestAction,
    RequestContext,
    RequestStreamContext,
    ResponseAction,
    ResponseContext,
    ResponseStreamContext,
    UpstreamRequestModifications,
    UpstreamResponseModifications,
)


def on_request(ctx: RequestContext, params: dict[str, Any]) -> RequestAction:
    step = params.get("onRequest", {})
    saw = {name: seen_in_request(ctx, name) for name in step.get("sees", [])}
    returned = run(ctx, step)
    if returned is None and not saw:
        return None
    action = returned or {"kind": "modify"}
    headers = set_headers(action, saw)
    if action["kind"] == "answer":
        return answer(action, headers)
    target: dict[str, Any] = {
        name: text(action[name]) for name in ("path", "query", "method", "authority", "upstream") if name in action
    }
    return UpstreamRequestModifications(
        set_headers=headers,
        remove_headers=list(action.get("removeHeaders", [])),
        append_headers=lines(action.get("appendHeaders", [])),
        body=octets(action.get("body")),
        analytics_metadata=action.get("analytics", {}),
        attempts=[attempt(tried) for tried in action.get("attempts", [])],
        **target,
    )


def attempt(tried: dict[str, Any]) -> Attempt:
    path = None if "path" not in tried else text(tried["path"])
    return Attempt(tried["upstream"], lines(tried.get("setHeaders", [])), path, octets(tried.get("body")))


def on_response(ctx: ResponseContext, params: dict[str, Any]) -> ResponseAction:
    step = params.get("onResponse", {})
    saw = {name: seen_in_response(ctx, name) for name in step.get("sees", [])}
    returned = run(ctx, step)
    if returned is None and not saw:
        return None
    action = returned or {"kind": "modify"}
    headers = set_headers(action, saw)
    if action["kind"] == "answer":
        return answer(action, headers)
    return UpstreamResponseModifications(
        set_headers=headers,
        remove_headers=list(action.get("removeHeaders", [])),
        append_headers=lines(action.get("appendHeaders", [])),
        body=octets(action.get("body")),
        status_code=action.get("statusCode"),
        analytics_metadata=action.get("analytics", {}),
    )


async def on_request_stream(ctx: RequestStreamContext, chunks: Chunks, params: dict[str, Any]) -> AsyncIterator[bytes]:
    async for chunk in stream(ctx, chunks, params.get("onRequestStream", {}), seen_in_request):
        yield chunk


async def on_response_stream(
    ctx: ResponseStreamContext, chunks: Chunks, params: dict[str, Any]
) -> AsyncIterator[bytes]:
    async for chunk in stream(ctx, chunks, params.get("onResponseStream", {}), seen_in_response):
        yield chunk


async def stream(
    ctx: Any, chunks: Chunks, step: dict[str, Any], look: Callable[[Any, str], Any]
) -> AsyncIterator[bytes]:
    received: list[bytes] = []
    write(ctx, step)
    if "after" not in step:
        await fail(step)
    if "prepends" in step:
        yield octets(step["prepends"]) or b""
    async for chunk in pass_on(transform(record(chunks, received), step), step):
        yield chunk
    for name, values in lines(step.get("setTrailers", [])).items():
        ctx.trailers[name] = values
    for name in step.get("removeTrailers", []):
        del ctx.trailers[name]
    if "appends" in step:
        yield octets(step["appends"]) or b""
    if "sees" in step:
        saw = {name: seen_in_stream(ctx, name, b"".join(received), look) for name in step["sees"]}
        yield b"\nsaw: " + base64.b64encode(json.dumps(saw).encode())


async def pass_on(chunks: AsyncIterator[bytes], step: dict[str, Any]) -> AsyncIterator[bytes]:
    passed, after = 0, step.get("after", 0)
    async for chunk in chunks:
        for part in split(chunk, after - passed):
            passed += len(part)
            if not step.get("drops"):
                yield part
            if passed == after:
                await fail(step)
                if step.get("ends"):
                    return


async def record(chunks: Chunks, received: list[bytes]) -> AsyncIterator[bytes]:
    async for chunk in chunks:
        received.append(chunk)
        yield chunk


def transform(chunks: AsyncIterator[bytes], step: dict[str, Any]) -> AsyncIterator[bytes]:
    if step.get("holds"):
        chunks = join_chunks(chunks)
    if "replaces" in step:
        from_, to = (octets(encoded) or b"" for encoded in step["replaces"])
        chunks = streams.replaced(chunks, re.compile(re.escape(from_)), lambda _: to, longest=len(from_))
    return chunks


async def join_chunks(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    if whole := b"".join([chunk async for chunk in chunks]):
        yield whole


def split(chunk: bytes, at: int) -> list[bytes]:
    """The chunk in two parts if `at` lies inside of it."""
    return [chunk[:at], chunk[at:]] if 0 < at < len(chunk) else [chunk]


async def fail(step: dict[str, Any]) -> None:
    """Waits, then ends the stream if the step says so."""
    if "sleepMs" in step:
        await asyncio.sleep(step["sleepMs"] / 1000)
    if "raises" in step:
        raise ValueError(step["raises"])
    if "rejects" in step:
        raise Reject(answer(step["rejects"], set_headers(step["rejects"], {})))


def seen_in_stream(ctx: Any, name: str, received: bytes, look: Callable[[Any, str], Any]) -> Any:
    if name == "received":
        return received.decode("latin-1")
    if name.startswith("trailer."):
        trailer = name.removeprefix("trailer.").encode()
        return [value.decode("latin-1") for key, value in ctx.trailers.raw if key == trailer]
    return look(ctx, name)


def run(ctx: RequestContext | ResponseContext, step: dict[str, Any]) -> dict[str, Any] | None:
    """Performs the step's writes, pauses and errors, and returns its action."""
    write(ctx, step)
    if "sleepMs" in step:
        time.sleep(step["sleepMs"] / 1000)
    if "raises" in step:
        raise ValueError(step["raises"])
    action: dict[str, Any] | None = step.get("action")
    return action


def write(ctx: RequestContext | ResponseContext, step: dict[str, Any]) -> None:
    for key, value in step.get("writes", {}).items():
        ctx.metadata[key] = value
    for key in step.get("deletes", []):
        del ctx.metadata[key]


def answer(action: dict[str, Any], headers: dict[str, list[bytes]]) -> ImmediateResponse:
    body = octets(action.get("body"))
    return ImmediateResponse(action["statusCode"], headers, b"" if body is None else body, action.get("analytics", {}))


def seen_in_request(ctx: RequestContext, name: str) -> Any:
    """A property of the context by its name, `apiName` for `api_name`, or what `seen` has."""
    if name == "peer":
        return json.loads(encode_peer(ctx.peer) or b"null")
    if name in ("body", "metadata") or name.startswith("header."):
        return seen(ctx, name)
    return getattr(ctx, re.sub("[A-Z]", lambda letter: f"_{letter[0].lower()}", name))


def seen_in_response(ctx: ResponseContext, name: str) -> Any:
    if name.startswith("request."):
        return seen_in_request(ctx.request, name.removeprefix("request."))
    return ctx.status_code if name == "status" else seen(ctx, name)


def seen(ctx: RequestContext | ResponseContext, name: str) -> Any:
    if name == "body":
        return None if ctx.body is None else ctx.body.decode("latin-1")
    if name == "metadata":
        return ctx.metadata.to_dict()
    header = name.removeprefix("header.").encode()
    return [value.decode("latin-1") for key, value in ctx.headers.raw if key == header]


def set_headers(action: dict[str, Any], saw: dict[str, Any]) -> dict[str, list[bytes]]:
    many = action.get("manyHeaders", {"lines": 0, "bytes": 0})
    more = [[f"x-line-{number}", {"of": "v", "times": many["bytes"]}] for number in range(many["lines"])]
    if saw:
        more.append(["x-saw", base64.b64encode(json.dumps(saw).encode()).decode()])
    return lines([*action.get("setHeaders", []), *more])


def lines(headers: list[Any]) -> dict[str, list[bytes]]:
    """A name that is listed twice has both values."""
    values: dict[str, list[bytes]] = {}
    for name, value in headers:
        values.setdefault(text(name), []).append(text(value).encode("latin-1"))
    return values


def text(value: Any) -> str:
    """A string, or {of: string, times: number} for a repeated one."""
    return value if isinstance(value, str) else value["of"] * int(value["times"])


def octets(value: Any) -> bytes | None:
    return None if value is None else text(value).encode("latin-1")
