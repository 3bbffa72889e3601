"""gRPC around the streams, on a Unix socket that only its owner can open."""

from __future__ import annotations

import logging
import os
import platform
import socket
import stat
import threading
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc

import sdk
from gatewright_executor import memory
from gatewright_executor._gen import python_executor_pb2 as pb
from gatewright_executor.dispatch import Dispatcher
from gatewright_executor.hung import HUNG_SECONDS, Hung
from gatewright_executor.policy_loader import LoadedPolicy
from gatewright_executor.prepare import Preparer
from gatewright_executor.stream import Process, Stream
from gatewright_executor.translator import failure_message

SERVICE = pb.DESCRIPTOR.services_by_name["PythonExecutorService"].full_name
MAX_MESSAGE_BYTES = 64 << 20
SILENCE_SECONDS = 5.0  # an event loop that has not answered for so long is blocked by a policy
CONCURRENT_CALLS = 16  # one stream, its successor, health checks
log = logging.getLogger(__name__)


class SocketError(Exception):
    """The path to listen on cannot be used."""


class Server:
    """Serves the policies until it is stopped. Build, start, stop; each once."""

    def __init__(self, policies: Mapping[str, LoadedPolicy], workers: int, hung_seconds: float = HUNG_SECONDS) -> None:
        self._dispatcher = Dispatcher(workers, hung_seconds)
        hello = _hello(policies, workers)
        self._process = Process(policies, self._dispatcher, Preparer(self._dispatcher.coroutines), hello)
        self._streams: set[Stream] = set()
        self._stopping = False
        self._server = grpc.server(
            ThreadPoolExecutor(CONCURRENT_CALLS, "grpc"),
            handlers=[self._handlers()],
            options=[
                ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
                ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
            ],
        )

    def start(self, path: Path) -> None:
        """Listens on a Unix socket at `path`, made with mode 0600; SocketError where that cannot be."""
        _free(path)
        mask = os.umask(0o177)  # no other thread of ours runs yet
        try:
            self._server.add_insecure_port(f"unix:{path.absolute()}")
        except RuntimeError as error:
            raise SocketError(f"expected to listen on {path}, got: {error}") from None
        finally:
            os.umask(mask)
        self._dispatcher.start()
        self._server.start()

    def stop(self, seconds: float) -> None:
        """Takes nothing new in, answers what is under way for at most `seconds`, and ends the streams."""
        self._stopping = True
        ended = self._server.stop(seconds)
        for stream in self._streams.copy():
            stream.drain()
        ended.wait()
        self._dispatcher.stop()

    def execute_stream(self, requests: Iterable[pb.RequestFrame], context: grpc.ServicerContext) -> Iterator[bytes]:
        """ExecuteStream: this thread writes, another reads."""
        stream = Stream(self._process)
        self._streams.add(stream)
        if self._stopping:
            stream.drain()
        if not context.add_callback(lambda: self._ended(stream)):
            self._ended(stream)
        threading.Thread(target=_read, args=(stream, requests), name="reader", daemon=True).start()
        return stream.frames()

    def health(self, _request: pb.HealthCheckRequest, _context: grpc.ServicerContext) -> pb.HealthCheckResponse:
        """HealthCheck: what the workers do and have done, as they themselves noted it."""
        progress = self._dispatcher.progress()
        return pb.HealthCheckResponse(
            serving=not self._stopping and self._dispatcher.coroutines.silent_seconds() < SILENCE_SECONDS,
            pid=os.getpid(),
            workers=progress.workers,
            workers_busy=progress.busy,
            executions_started=progress.started,
            executions_finished=progress.finished,
            oldest_execution_ms=int(progress.oldest_seconds * 1000),
            oldest_execution_policy=progress.oldest_policy,
            workers_hung=progress.workers_hung,
            hung=[_hung(hung) for hung in progress.hung],
            exhausted=memory.exhausted.is_set(),
        )

    def _ended(self, stream: Stream) -> None:
        self._streams.discard(stream)
        stream.abandon()

    def _handlers(self) -> grpc.GenericRpcHandler:
        """By hand, for the replies are serialized already."""
        execute: grpc.RpcMethodHandler[pb.RequestFrame, bytes] = grpc.stream_stream_rpc_method_handler(
            self.execute_stream, request_deserializer=pb.RequestFrame.FromString
        )
        health = grpc.unary_unary_rpc_method_handler(
            self.health,
            request_deserializer=pb.HealthCheckRequest.FromString,
            response_serializer=pb.HealthCheckResponse.SerializeToString,
        )
        return grpc.method_handlers_generic_handler(SERVICE, {"ExecuteStream": execute, "HealthCheck": health})


def _hung(hung: Hung) -> pb.HungExecutions:
    return pb.HungExecutions(
        policy=hung.instance.key,
        api_name=hung.instance.about.api_name,
        instance_id=hung.instance.id,
        count=hung.count,
        oldest_ms=int(hung.oldest_seconds * 1000),
        blocks_instance=hung.blocks_instance,
    )


def _read(stream: Stream, requests: Iterable[pb.RequestFrame]) -> None:
    try:
        for frame in requests:
            stream.take_in(frame)
    except grpc.RpcError:  # the engine went away
        stream.abandon()
    except Exception as error:
        log.exception("a frame could not be taken in; the stream ends")
        stream.abandon(error)
    else:
        stream.drain()


def _hello(policies: Mapping[str, LoadedPolicy], workers: int) -> pb.Hello:
    return pb.Hello(
        pid=os.getpid(),
        python_version=platform.python_version(),
        sdk_version=sdk.__version__,
        policies=[_loaded(policy) for policy in policies.values()],
        workers=workers,
    )


def _loaded(policy: LoadedPolicy) -> pb.LoadedPolicy:
    either = policy.get_policy is not None  # its object is not made yet: it may have both
    message = pb.LoadedPolicy(name=policy.name, version=policy.version)
    if policy.failure is not None:
        message.failure.CopyFrom(failure_message(policy.failure))
    else:
        message.on_request = either or policy.on_request is not None
        message.on_response = either or policy.on_response is not None
    return message


def _free(path: Path) -> None:
    """Removes the socket that a killed process left behind; refuses anything else that is in the way."""
    if len(os.fsencode(path.absolute())) > 107:
        raise SocketError(f"expected a socket path of at most 107 bytes, got {path.absolute()}")
    if not path.parent.is_dir():
        raise SocketError(f"expected a folder at {path.parent} for the socket, found none")
    if not path.exists():
        return
    if not stat.S_ISSOCK(path.stat().st_mode):
        raise SocketError(f"expected a socket or nothing at {path}, found a file; it is left alone")
    with socket.socket(socket.AF_UNIX) as probe:
        if probe.connect_ex(str(path)) == 0:
            raise SocketError(f"another process listens on {path}; stop it, or listen elsewhere")
    path.unlink()
