"""Replaces a word in response bodies while they stream."""

import re
from typing import Any

from sdk import streams
from sdk.policy import Chunks, ResponseStreamContext


def prepare(params: dict[str, Any]) -> re.Pattern[bytes]:
    """Once for each attachment, before its first request."""
    # 1. What it searches for.
    return re.compile(re.escape(params["word"].encode()))


async def on_response_stream(
    ctx: ResponseStreamContext, chunks: Chunks, params: dict[str, Any]
) -> Chunks:
    """Once for each response: the client gets what it yields. The three things to
    change are numbered.
    """
    # 2. How long a match can be: it may begin in one chunk and end in another.
    longest = len(params["word"].encode())
    # 3. What replaces it; sdk.streams also reads lines, JSON lines and events.
    async for chunk in streams.replaced(chunks, ctx.prepared, b"***", longest=longest):
        yield chunk
