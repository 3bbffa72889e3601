"""The minimum of a grpc.aio server: returns each message unparsed. `python -m bench.naive.echo --listen unix:PATH`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc

from bench.naive.executor import SERVICE, listen, run


async def echo(messages: AsyncIterator[bytes], _stream: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[bytes]:
    """Answers each message with one message."""
    async for message in messages:
        yield message


if __name__ == "__main__":
    asyncio.run(run(listen(), SERVICE, {"ExecuteStream": grpc.stream_stream_rpc_method_handler(echo)}))
