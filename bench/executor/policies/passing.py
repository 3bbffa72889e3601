"""Passes a body on, chunk by chunk."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from gatewright.policy import ResponseStreamContext


async def on_response_stream(
    _ctx: ResponseStreamContext, chunks: AsyncIterator[bytes], _params: dict[str, Any]
) -> AsyncIterator[bytes]:
    async for chunk in chunks:
        yield chunk
