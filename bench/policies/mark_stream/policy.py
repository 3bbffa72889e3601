from typing import Any

from sdk.policy import Chunks, RequestStreamContext, ResponseStreamContext


async def on_request_stream(ctx: RequestStreamContext, chunks: Chunks, params: dict[str, Any]) -> Chunks:
    async for chunk in chunks:
        yield chunk.replace(b"~", b"#")


async def on_response_stream(ctx: ResponseStreamContext, chunks: Chunks, params: dict[str, Any]) -> Chunks:
    async for chunk in chunks:
        yield chunk.replace(b"~", b"#")
