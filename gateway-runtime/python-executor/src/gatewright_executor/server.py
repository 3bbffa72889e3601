"""The service of python_executor.proto: streams, health check, log level, and metrics of policies."""

from __future__ import annotations

import logging
import os
import platform
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import gatewright

from gatewright_executor import logs
from gatewright_executor._gen import python_executor_pb2 as pb
from gatewright_executor.convert.policy_metrics import collect_metrics
from gatewright_executor.convert.translator import failure_message
from gatewright_executor.grpc.connection import Connection, ResponseWriter
from gatewright_executor.grpc.listener import Address, Listener
from gatewright_executor.grpc.protocol import Status
from gatewright_executor.policies.policy_loader import LoadedPolicy
from gatewright_executor.replacement import replacement_needed
from gatewright_executor.running.dispatch import Dispatcher
from gatewright_executor.running.hung import HUNG_SECONDS, HungExecutions
from gatewright_executor.running.inline_runner import InlineRunner
from gatewright_executor.running.limits import LIMITS, Limits
from gatewright_executor.running.prepare import Preparer
from gatewright_executor.running.tracing import tracing
from gatewright_executor.session.instances import Process
from gatewright_executor.session.reading_loop import Call, Methods, ReadingLoop
from gatewright_executor.session.stream import Stream

log = logging.getLogger("gatewright_executor")
SERVICE = pb.DESCRIPTOR.services_by_name["PythonExecutorService"].full_name
MAX_MESSAGE_BYTES = 64 << 20


class Server:
    """Serves the policies until it is stopped. Start, stop; each once."""

    def __init__(
        self,
        policies: Mapping[str, LoadedPolicy],
        workers: int,
        max_workers: int = 0,
        hung_seconds: float = HUNG_SECONDS,
        peers: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
        limits: Limits = LIMITS,
    ) -> None:
        self._limits = limits
        self._dispatcher = Dispatcher(workers, max_workers, hung_seconds, clock, limits)
        hello = _hello(policies, workers)
        tracing.set_up()
        self._process = Process(policies, self._dispatcher, Preparer(self._dispatcher.loops, limits), hello)
        self._streams: set[Stream] = set()
        self._stopping = False
        self._methods: Methods = {
            f"/{SERVICE}/ExecuteStream": self._execute_stream,
            f"/{SERVICE}/HealthCheck": self._unary(lambda _: self.health().SerializeToString()),
            f"/{SERVICE}/CollectMetrics": self._unary(collect_metrics),
            f"/{SERVICE}/SetLogLevel": self._unary(set_log_level),
        }
        self._listener = Listener(self._serve, MAX_MESSAGE_BYTES, peers)

    def start(self, address: Address) -> None:
        """Listens at a path, with mode 0600, or on a socket. SocketError if that fails."""
        self._listener.start(address)
        self._dispatcher.start()

    def stop(self, seconds: float) -> None:
        """Refuses new executions, answers those under way within `seconds`, ends the streams, closes instances."""
        self._stopping = True
        self._listener.go_away()
        for stream in self._streams.copy():
            stream.drain()
        self._listener.close(seconds)
        self._process.preparer.stop()
        self._dispatcher.stop()

    def health(self) -> pb.HealthCheckResponse:
        """The health of the process, by the records of its workers."""
        progress = self._dispatcher.progress()
        return pb.HealthCheckResponse(
            serving=not self._stopping and self._is_loop_free,
            pid=os.getpid(),
            workers=progress.workers,
            workers_busy=progress.busy,
            executions_started=progress.started,
            executions_finished=progress.finished,
            oldest_execution_ms=int(progress.oldest_seconds * 1000),
            oldest_execution_policy=progress.oldest_policy,
            workers_hung=progress.workers_hung,
            hung=[_hung(hung) for hung in progress.hung],
            memory_exhausted=replacement_needed.memory_exhausted,
            thread_failed=replacement_needed.thread_failed,
        )

    @property
    def _is_loop_free(self) -> bool:
        return self._dispatcher.loops.shared.blocked_seconds() < self._limits.loop_blocked_seconds

    def _serve(self, connection: Connection) -> None:
        ReadingLoop(connection, self._methods, self._dispatcher).run()

    def _execute_stream(self, writer: ResponseWriter, runner: InlineRunner) -> Stream:
        stream = Stream(self._process, writer, runner, self._streams.discard)
        self._streams.add(stream)
        if self._stopping:
            stream.drain()
        return stream

    @staticmethod
    def _unary(answer: Callable[[bytes], bytes]) -> Callable[[ResponseWriter, InlineRunner], Call]:
        return lambda writer, _runner: UnaryCall(answer, writer)


class UnaryCall:
    """A call with one request and one response: `answer` returns the response for a request, both serialized.

    Its ValueError becomes the status INVALID_ARGUMENT.
    """

    def __init__(self, answer: Callable[[bytes], bytes], writer: ResponseWriter) -> None:
        self._answer = answer
        self._writer = writer

    def message(self, data: bytes) -> None:
        """Answers it."""
        try:
            self._writer.send(self._answer(data))
        except ValueError as error:
            self._writer.finish(Status.INVALID_ARGUMENT, str(error))

    def half_closed(self) -> None:
        """Ends the call."""
        self._writer.finish()

    def aborted(self) -> None:
        """Does nothing: no work is under way."""


def set_log_level(request: bytes) -> bytes:
    """Sets the lowest level that the process logs. ValueError: there is no such level."""
    level = pb.SetLogLevelRequest.FromString(request).level
    logs.set_level(level)
    log.info("log level changed", extra={"fields": {"to": level}})
    return pb.SetLogLevelResponse().SerializeToString()


def _hung(hung: HungExecutions) -> pb.HungExecutions:
    return pb.HungExecutions(
        policy=hung.instance.key,
        api_name=hung.instance.metadata.api_name,
        instance_id=hung.instance.id,
        count=hung.count,
        oldest_ms=int(hung.oldest_seconds * 1000),
        blocks_instance=hung.blocks_instance,
        limit_ms=int(hung.limit_seconds * 1000),
        stack=hung.where.stack,
    )


def _hello(policies: Mapping[str, LoadedPolicy], workers: int) -> pb.Hello:
    return pb.Hello(
        pid=os.getpid(),
        python_version=platform.python_version(),
        sdk_version=gatewright.__version__,
        policies=[_loaded(policy) for policy in policies.values()],
        workers=workers,
    )


def _loaded(policy: LoadedPolicy) -> pb.LoadedPolicy:
    either = policy.get_policy is not None  # the object that it returns may have both hooks
    message = pb.LoadedPolicy(name=policy.name, version=policy.version)
    if policy.failure is not None:
        message.failure.CopyFrom(failure_message(policy.failure))
    else:
        message.on_request = either or policy.on_request is not None
        message.on_response = either or policy.on_response is not None
        message.on_request_stream = policy.on_request_stream is not None
        message.on_response_stream = policy.on_response_stream is not None
    return message
