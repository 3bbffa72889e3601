"""A gRPC upstream: the health service, and calls of each kind, one message after the other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health

from e2e.kit.conversation import SECONDS, arrives

Bytes = bytes


class GrpcUpstream:
    """On a free port of loopback. `ended` has what became of calls: "cancelled"; `taken` is filled by a client that has
    taken a message of `Count`, and `one_by_one` is whether it always came while the call waited for it, for `patience`
    seconds."""

    def __init__(self) -> None:
        self.ended: asyncio.Queue[str] = asyncio.Queue()
        self.taken: asyncio.Queue[None] = asyncio.Queue()
        self.one_by_one = True
        self.patience = SECONDS
        self.hanging = asyncio.Semaphore(0)

    async def start(self) -> None:
        self._server = grpc.aio.server()
        self.health = health.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self.health, self._server)
        await self.health.set("up", health_pb2.HealthCheckResponse.SERVING)
        methods: dict[str, Any] = {
            "Unary": grpc.unary_unary_rpc_method_handler(self._unary),
            "Fail": grpc.unary_unary_rpc_method_handler(self._fail),
            "FailLate": grpc.unary_stream_rpc_method_handler(self._fail_late),
            "Hang": grpc.unary_unary_rpc_method_handler(self._hang),
            "Upload": grpc.stream_unary_rpc_method_handler(self._upload),
            "Count": grpc.unary_stream_rpc_method_handler(self._count),
            "Echo": grpc.stream_stream_rpc_method_handler(self._echo),
        }
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("passing.Calls", methods),))
        self.port: int = self._server.add_insecure_port("127.0.0.1:0")
        await self._server.start()

    async def stop(self) -> None:
        await self._server.stop(0)

    async def _unary(self, request: Bytes, context: Any) -> Bytes:
        """Returns the message; trailers have the metadata `x-sent` and whether a policy has set `x-passed`."""
        sent = dict(context.invocation_metadata())
        await context.send_initial_metadata([("x-initial", "yes")])
        context.set_trailing_metadata([("x-trailing", sent.get("x-sent", "")), ("x-raw-bin", b"\x00\xff")])
        return request

    async def _fail(self, request: Bytes, context: Any) -> Bytes:
        """Fails without a message: HEADERS alone, which are trailers too."""
        del request
        context.set_trailing_metadata([("x-why", "because")])
        await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "nö: 100 %")
        return b""

    async def _fail_late(self, request: Bytes, context: Any) -> AsyncIterator[Bytes]:
        """Sends a message and then fails: the status is in trailers."""
        yield request
        await context.abort(grpc.StatusCode.DATA_LOSS, "half of it")

    async def _hang(self, request: Bytes, context: Any) -> Bytes:
        del context
        self.hanging.release()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            self.ended.put_nowait("cancelled")
            raise
        return request

    async def _upload(self, requests: AsyncIterator[Bytes], context: Any) -> Bytes:
        del context
        return b"|".join([request async for request in requests])

    async def _count(self, request: Bytes, context: Any) -> AsyncIterator[Bytes]:
        """So many messages, each when `taken` says that the client has the one before it, or after a while."""
        del context
        for number in range(int(request)):
            yield b"%d" % number
            self.one_by_one = await arrives(self.taken.get(), self.patience) and self.one_by_one

    async def _echo(self, requests: AsyncIterator[Bytes], context: Any) -> AsyncIterator[Bytes]:
        del context
        async for request in requests:
            yield request
