from collections.abc import AsyncIterator
from typing import Any

from sdk.policy import RequestStreamContext


async def on_request_stream(
    ctx: RequestStreamContext, chunks: AsyncIterator[bytes], params: dict[str, Any]
) -> AsyncIterator[bytes]:
    async for chunk in chunks:
        yield chunk
