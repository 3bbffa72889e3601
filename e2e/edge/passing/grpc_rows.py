"""Rows of gRPC, by grpcio on both ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from e2e.edge.passing.columns import BUFFERING as BUFFERS
from e2e.edge.passing.rows import PASSES, WHOLE, Row, row
from e2e.edge.passing.stage import QUICK, Stage, patience
from e2e.kit.conversation import SECONDS, arrives

IDLE = "held until `idleTimeout`, then"


class Calls:
    """A channel to the column's API. gRPC knows no prefix of a path, so this puts the context before each method's."""

    def __init__(self, stage: Stage, column: str, *, times_out: bool) -> None:
        self.upstream = stage.grpc
        self.patience = self.upstream.patience = patience(column)
        self._prefix = f"/{QUICK if times_out else ''}{column}-grpc"
        self._channel = grpc.aio.insecure_channel(f"127.0.0.1:{stage.gateway.port}")

    async def __aenter__(self) -> Calls:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._channel.close()

    def unary_unary(self, method: str, **options: Any) -> Any:
        return self._channel.unary_unary(self._prefix + method, **options)

    def unary_stream(self, method: str, **options: Any) -> Any:
        return self._channel.unary_stream(self._prefix + method, **options)

    def stream_unary(self, method: str, **options: Any) -> Any:
        return self._channel.stream_unary(self._prefix + method, **options)

    def stream_stream(self, method: str, **options: Any) -> Any:
        return self._channel.stream_stream(self._prefix + method, **options)


@row("A unary call, with metadata both ways and trailing metadata")
async def unary(calls: Calls) -> str:
    call = calls.unary_unary("/passing.Calls/Unary")(b"hello", metadata=[("x-sent", "this")], timeout=SECONDS)
    assert await call == b"hello"
    assert dict(await call.initial_metadata())["x-initial"] == "yes"
    trailing = dict(await call.trailing_metadata())
    assert (trailing["x-trailing"], trailing["x-raw-bin"]) == ("this", b"\x00\xff")
    return PASSES


def health(calls: Calls) -> Any:
    """The generated stub of the health service."""
    return health_pb2_grpc.HealthStub(calls)  # type: ignore[arg-type] # it takes what makes calls


@row("Health `Check`, and the error of an unknown service")
async def check(calls: Calls) -> str:
    stub = health(calls)
    request = health_pb2.HealthCheckRequest(service="up")
    assert (await stub.Check(request, timeout=SECONDS)).status == health_pb2.HealthCheckResponse.SERVING
    error = await failure(stub.Check(health_pb2.HealthCheckRequest(service="nobody"), timeout=SECONDS))
    assert error.code() is grpc.StatusCode.NOT_FOUND
    return PASSES


@row("Health `Watch`: a stream that has no end", {BUFFERS: f"{IDLE} UNAVAILABLE"}, times_out=True)
async def watch(calls: Calls) -> str:
    call = health(calls).Watch(health_pb2.HealthCheckRequest(service="up"), timeout=SECONDS)
    first = asyncio.ensure_future(call.read())
    if not await arrives(asyncio.shield(first), calls.patience):
        return f"{IDLE} {(await failure(first)).code().name}"
    assert (await first).status == health_pb2.HealthCheckResponse.SERVING
    await calls.upstream.health.set("up", health_pb2.HealthCheckResponse.NOT_SERVING)
    assert (await call.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
    await calls.upstream.health.set("up", health_pb2.HealthCheckResponse.SERVING)
    call.cancel()
    return PASSES


async def failure(call: Any) -> grpc.aio.AioRpcError:
    try:
        answer = await call
    except grpc.aio.AioRpcError as error:
        return error
    raise AssertionError(f"expected an error, got {answer}")


@row("An error without a message: its status in the headers (trailers-only)")
async def trailers_only(calls: Calls) -> str:
    error = await failure(calls.unary_unary("/passing.Calls/Fail")(b"x", timeout=SECONDS))
    assert (error.code(), error.details()) == (grpc.StatusCode.FAILED_PRECONDITION, "nö: 100 %")
    assert dict(error.trailing_metadata())["x-why"] == "because"
    return PASSES


@row("An error behind a message: its status in the trailers")
async def error_trailers(calls: Calls) -> str:
    call = calls.unary_stream("/passing.Calls/FailLate")(b"half", timeout=SECONDS)
    assert await call.read() == b"half"
    error = await failure(call.read())
    assert (error.code(), error.details()) == (grpc.StatusCode.DATA_LOSS, "half of it")
    return PASSES


@row("A server's stream, message by message", {BUFFERS: WHOLE})
async def server_stream(calls: Calls) -> str:
    calls.upstream.one_by_one = True
    answers = []
    async for message in calls.unary_stream("/passing.Calls/Count")(b"2", timeout=SECONDS):
        answers.append(message)
        calls.upstream.taken.put_nowait(None)
    assert answers == [b"0", b"1"]
    while not calls.upstream.taken.empty():
        calls.upstream.taken.get_nowait()
    return PASSES if calls.upstream.one_by_one else WHOLE


@row("A client's stream")
async def client_stream(calls: Calls) -> str:
    async def messages() -> AsyncIterator[bytes]:
        for number in range(3):
            yield b"%d" % number

    assert await calls.stream_unary("/passing.Calls/Upload")(messages(), timeout=SECONDS) == b"0|1|2"
    return PASSES


@row("Streams both ways, one message after the other", {BUFFERS: f"{IDLE} UNKNOWN"}, times_out=True)
async def both_ways(calls: Calls) -> str:
    call = calls.stream_stream("/passing.Calls/Echo")(timeout=SECONDS)
    for number in range(3):
        await call.write(b"%d" % number)
        answered = asyncio.ensure_future(call.read())
        if not await arrives(asyncio.shield(answered), calls.patience):
            return f"{IDLE} {(await failure(answered)).code().name}"
        assert await answered == b"%d" % number
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF
    assert await call.code() is grpc.StatusCode.OK
    return PASSES


@row("Streams both ways, where the client ends before it reads", {BUFFERS: WHOLE})
async def one_after_the_other(calls: Calls) -> str:
    call = calls.stream_stream("/passing.Calls/Echo")(timeout=SECONDS)
    await call.write(b"0")
    first = asyncio.ensure_future(call.read())
    at_once = await arrives(asyncio.shield(first), calls.patience)
    await call.write(b"1")
    await call.done_writing()
    assert (await first, await call.read(), await call.read()) == (b"0", b"1", grpc.aio.EOF)
    return PASSES if at_once else WHOLE


@row("A client that cancels has cancelled upstream's call")
async def cancel(calls: Calls) -> str:
    call = calls.unary_unary("/passing.Calls/Hang")(b"x", timeout=SECONDS)
    await calls.upstream.hanging.acquire()
    call.cancel()
    async with asyncio.timeout(SECONDS):
        assert await calls.upstream.ended.get() == "cancelled"
    return PASSES


ROWS: list[Row] = [value for value in globals().values() if isinstance(value, Row)]
