"""The naive executor, `python -m bench.naive.executor --listen unix:PATH`: grpc.aio, a message and a task for each
execution, maps and Structs in messages, and a thread pool.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from google.protobuf.struct_pb2 import Struct

from bench.naive import policy
from bench.naive._gen import naive_pb2 as pb
from bench.naive.policy import Action, Context, Message

SERVICE = "gatewright.bench.naive.NaiveExecutor"
WORKERS = 32
MAX_MESSAGE_BYTES = 64 << 20
Stream = grpc.aio.ServicerContext
Hook = Callable[[Context, dict[str, Any]], Action]
HOOKS: dict[str, Hook] = {"on_request": policy.on_request, "on_response": policy.on_response}


class NaiveExecutor:
    """Runs a task for each execution, which waits for a thread of the pool."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(WORKERS)

    async def execute_stream(self, executions: AsyncIterator[pb.Execution], stream: Stream[Any, Any]) -> None:
        """Answers each execution when it has finished."""
        tasks, writing = set[asyncio.Task[None]](), asyncio.Lock()
        async for execution in executions:
            task = asyncio.create_task(self._execute(execution, stream, writing))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        await asyncio.gather(*tasks)

    async def _execute(self, execution: pb.Execution, stream: Stream[Any, Any], writing: asyncio.Lock) -> None:
        context, params = context_of(execution), plain(execution.parameters)
        try:
            hook = HOOKS[execution.phase]
            action = await asyncio.get_running_loop().run_in_executor(self._pool, hook, context, params)
            answer = answer_of(execution.id, action, context.metadata)
        except Exception as error:
            answer = pb.Answer(id=execution.id, error=repr(error))
        async with writing:  # grpc.aio allows one write at a time
            await stream.write(answer)


def context_of(execution: pb.Execution) -> Context:
    """The context of the policy's call."""
    return Context(
        message_of(execution.request),
        message_of(execution.response) if execution.HasField("response") else None,
        execution.request_id,
        execution.api_name,
        execution.operation,
        plain(execution.metadata),
    )


def message_of(message: pb.Message) -> Message:
    headers = {name: list(values.values) for name, values in message.headers.items()}
    return Message(
        headers, message.body, message.method, message.path, message.authority, message.scheme, message.status
    )


def answer_of(number: int, action: Action, metadata: dict[str, Any]) -> pb.Answer:
    answer = pb.Answer(id=number, remove_headers=action.remove_headers)
    for name, values in action.set_headers.items():
        answer.set_headers[name].values.extend(values)
    answer.metadata.update(metadata)
    return answer


def plain(struct: Struct) -> dict[str, Any]:
    """A Struct as a dict."""
    return {key: _plain(value) for key, value in struct.fields.items()}


def _plain(value: Any) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        return plain(value.struct_value)
    if kind == "list_value":
        return [_plain(item) for item in value.list_value.values]
    return None if kind == "null_value" else getattr(value, kind)


async def serve(address: str) -> None:
    """Serves until SIGTERM."""
    execute = grpc.stream_stream_rpc_method_handler(
        NaiveExecutor().execute_stream,
        request_deserializer=pb.Execution.FromString,
        response_serializer=pb.Answer.SerializeToString,
    )
    await run(address, SERVICE, {"ExecuteStream": execute})


async def run(address: str, service: str, handlers: dict[str, Any]) -> None:
    """Runs a grpc.aio server until SIGTERM."""
    names = ("grpc.max_receive_message_length", "grpc.max_send_message_length")
    server = grpc.aio.server(options=[(name, MAX_MESSAGE_BYTES) for name in names])
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, handlers)])
    server.add_insecure_port(address)
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    await server.start()
    await stopped.wait()
    await server.stop(None)


def listen() -> str:
    """The value of --listen."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--listen", required=True, metavar="unix:PATH")
    return str(parser.parse_args().listen)


if __name__ == "__main__":
    asyncio.run(serve(listen()))
