import asyncio
import sys
from typing import Any

from sdk.policy import Chunks, RequestStreamContext, ResponseStreamContext


async def on_request_stream(ctx: RequestStreamContext, chunks: Chunks, params: dict[str, Any]) -> Chunks:
    watch = Watch(ctx, "request", params["reports"])
    try:
        async for chunk in chunks:
            await asyncio.sleep(params["pauseSeconds"])
            watch.passed += len(chunk)
            yield chunk
    finally:
        watch.ended()


async def on_response_stream(ctx: ResponseStreamContext, chunks: Chunks, params: dict[str, Any]) -> Chunks:
    watch = Watch(ctx, "response", params["reports"])
    try:
        async for chunk in chunks:
            await asyncio.sleep(params["pauseSeconds"])
            watch.passed += len(chunk)
            yield chunk
    finally:
        watch.ended()


class Watch:
    """Says how a stream has ended, for a test that reads the log and the access log."""

    def __init__(self, ctx: RequestStreamContext | ResponseStreamContext, direction: str, reports: bool) -> None:
        self._ctx, self._direction, self._reports, self.passed = ctx, direction, reports, 0

    def ended(self) -> None:
        if self._reports:
            self._ctx.analytics[self._direction] = {"passed": self.passed}
            error = sys.exception()
            print(f"{self._direction} ended by {type(error).__name__ if error else 'its end'}, passed {self.passed}")
