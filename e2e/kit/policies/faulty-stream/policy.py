import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from sdk.policy import Chunks, ImmediateResponse, Reject, RequestStreamContext, ResponseStreamContext

TEAPOT = ImmediateResponse(418, body="rejected")
Stream = Callable[[Chunks, float], AsyncIterator[Any]]


async def on_request_stream(ctx: RequestStreamContext, chunks: Chunks, params: dict[str, Any]) -> AsyncIterator[Any]:
    how = params["how"] if params["direction"] == "request" else "passes"
    async for chunk in WAYS[how](chunks, params["seconds"]):
        yield chunk


async def on_response_stream(ctx: ResponseStreamContext, chunks: Chunks, params: dict[str, Any]) -> AsyncIterator[Any]:
    how = params["how"] if params["direction"] == "response" else "passes"
    try:
        async for chunk in WAYS[how](chunks, params["seconds"]):
            yield chunk
    except (GeneratorExit, asyncio.CancelledError):
        while how == "swallows-exit":
            print("swallowed")
            with contextlib.suppress(GeneratorExit):
                yield b"as if nothing had happened"


async def passes(chunks: Chunks, seconds: float) -> AsyncIterator[Any]:
    async for chunk in chunks:
        yield chunk


async def more(chunks: Chunks, seconds: float) -> AsyncIterator[Any]:
    async for chunk in chunks:
        for _ in range(3):
            yield chunk


async def nothing(chunks: Chunks, seconds: float) -> AsyncIterator[Any]:
    async for chunk in chunks:
        if not chunk:
            yield chunk


async def at_once(chunks: Chunks, seconds: float) -> AsyncIterator[Any]:
    yield b"at once"


async def after_the_end(chunks: Chunks, seconds: float) -> AsyncIterator[Any]:
    async for chunk in chunks:
        yield chunk
    for part in ("that", " was", " it"):
        yield part.encode()


async def text(chunks: Chunks, seconds: float) -> AsyncIterator[Any]:
    async for chunk in chunks:
        yield chunk.decode("latin-1")


async def wrong_type(chunks: Chunks, seconds: float) -> AsyncIterator[Any]:
    async for chunk in chunks:
        yield chunk
        yield 7


async def never_ends(chunks: Chunks, seconds: float) -> AsyncIterator[Any]:
    async for chunk in chunks:
        yield chunk
    await asyncio.sleep(3600)


async def endless(chunks: Chunks, seconds: float) -> AsyncIterator[Any]:
    while True:
        yield bytes(1 << 16)


async def raises_before(chunks: Chunks, seconds: float) -> AsyncIterator[Any]:
    await anext(chunks, None)
    raise ValueError("before the first chunk")
    yield


async def raises_after(chunks: Chunks, seconds: float) -> AsyncIterator[Any]:
    async for chunk in chunks:
        yield chunk
        raise ValueError("after the first chunk")


async def raises_at_end(chunks: Chunks, seconds: float) -> AsyncIterator[Any]:
    async for chunk in chunks:
        yield chunk
    raise ValueError("after the last chunk")


async def rejects_before(chunks: Chunks, seconds: float) -> AsyncIterator[Any]:
    await anext(chunks, None)
    raise Reject(TEAPOT)
    yield


async def rejects_after(chunks: Chunks, seconds: float) -> AsyncIterator[Any]:
    async for chunk in chunks:
        yield chunk
        raise Reject(TEAPOT)


async def blocks(chunks: Chunks, seconds: float) -> AsyncIterator[Any]:
    async for chunk in chunks:
        yield chunk
        time.sleep(seconds)  # that is its fault


async def computes(chunks: Chunks, seconds: float) -> AsyncIterator[Any]:
    async for chunk in chunks:
        yield chunk
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            pass


async def exits(chunks: Chunks, seconds: float) -> AsyncIterator[Any]:
    async for chunk in chunks:
        yield chunk
        os._exit(3)


WAYS: dict[str, Stream] = {
    "passes": passes,
    "more": more,
    "nothing": nothing,
    "at-once": at_once,
    "after-the-end": after_the_end,
    "text": text,
    "wrong-type": wrong_type,
    "never-ends": never_ends,
    "endless": endless,
    "swallows-exit": passes,
    "raises-before": raises_before,
    "raises-after": raises_after,
    "raises-at-end": raises_at_end,
    "rejects-before": rejects_before,
    "rejects-after": rejects_after,
    "blocks": blocks,
    "computes": computes,
    "exits": exits,
}
