"""Masks a word in response bodies while they stream."""

import re
from typing import Any

from sdk import streams
from sdk.policy import Chunks, ResponseStreamContext


def prepare(params: dict[str, Any]) -> re.Pattern[bytes]:
    return re.compile(re.escape(params["word"].encode()))


async def on_response_stream(ctx: ResponseStreamContext, chunks: Chunks, params: dict[str, Any]) -> Chunks:
    longest = len(params["word"].encode())
    async for chunk in streams.replaced(chunks, ctx.prepared, b"***", longest=longest):  # a word may span chunks
        yield chunk
