"""The service of python_executor.proto: its streams, and its health check."""

from __future__ import annotations

import logging
import os
import platform
from collections.abc import Callable, Mapping
from pathlib import Path

import gatewright

from gatewright_executor import critical_thread, memory
from gatewright_executor._gen import python_executor_pb2 as pb
from gatewright_executor.convert.translator import failure_message
from gatewright_executor.grpc.connection import Answer, Methods
from gatewright_executor.grpc.listener import Address, Listener
from gatewright_executor.grpc.protocol import Status
from gatewright_executor.policies.policy_loader import LoadedPolicy
from gatewright_executor.running.dispatch import Dispatcher
from gatewright_executor.running.hung import HUNG_SECONDS, Hung
from gatewright_executor.running.prepare import Preparer
from gatewright_executor.session.stream import Process, Stream

SERVICE = pb.DESCRIPTOR.services_by_name["PythonExecutorService"].full_name
MAX_MESSAGE_BYTES = 64 << 20
SILENCE_SECONDS = 5.0  # an event loop that has not answered for so long is blocked by a policy
log = logging.getLogger(__name__)


class Server:
    """Serves the policies until it is stopped. Build, start, stop; each once."""

    def __init__(
        self,
        policies: Mapping[str, LoadedPolicy],
        workers: int,
        max_workers: int = 0,
        hung_seconds: float = HUNG_SECONDS,
        peers: Path | None = None,
    ) -> None:
        self._dispatcher = Dispatcher(workers, max_workers, hung_seconds)
        hello = _hello(policies, workers)
        self._process = Process(policies, self._dispatcher, Preparer(self._dispatcher.loops), hello)
        self._streams: set[Stream] = set()
        self._stopping = False
        methods: Methods = {
            f"/{SERVICE}/ExecuteStream": self._execute_stream,
            f"/{SERVICE}/HealthCheck": self._health_check,
        }
        self._listener = Listener(methods, MAX_MESSAGE_BYTES, self._dispatcher.crew.join, peers)

    def start(self, address: Address) -> None:
        """Listens: at a path, made with mode 0600, or on a socket; SocketError where that cannot be."""
        self._listener.start(address)
        self._dispatcher.start()

    def stop(self, seconds: float) -> None:
        """Takes nothing new in, answers what is under way for at most `seconds`, ends the streams, closes instances."""
        self._stopping = True
        self._listener.go_away()
        for stream in self._streams.copy():
            stream.drain()
        self._listener.close(seconds)
        self._process.preparer.stop()
        self._dispatcher.stop()

    def health(self) -> pb.HealthCheckResponse:
        """What the workers do and have done, as they themselves noted it."""
        progress = self._dispatcher.progress()
        return pb.HealthCheckResponse(
            serving=not self._stopping and self._dispatcher.loops.shared.silent_seconds() < SILENCE_SECONDS,
            pid=os.getpid(),
            workers=progress.workers,
            workers_busy=progress.busy,
            executions_started=progress.started,
            executions_finished=progress.finished,
            oldest_execution_ms=int(progress.oldest_seconds * 1000),
            oldest_execution_policy=progress.oldest_policy,
            workers_hung=progress.workers_hung,
            hung=[_hung(hung) for hung in progress.hung],
            memory_exhausted=memory.exhausted.is_set(),
            thread_failed=critical_thread.failed.is_set(),
        )

    def _execute_stream(self, answer: Answer) -> ExecuteStream:
        call = ExecuteStream(self._process, answer, self._streams.discard)
        self._streams.add(call.stream)
        if self._stopping:
            call.stream.drain()
        return call

    def _health_check(self, answer: Answer) -> HealthCheck:
        return HealthCheck(self, answer)


class ExecuteStream:
    """The call of that name: frames in, to its stream; frames out, from it."""

    def __init__(self, process: Process, answer: Answer, forget: Callable[[Stream], None]) -> None:
        self._answer = answer
        self._forget = forget
        self.stream = Stream(process, self, answer.read_on)

    def message(self, data: bytes) -> bool:
        try:
            return self.stream.take_in(pb.RequestFrame.FromString(data))
        except Exception as error:
            log.exception("a frame could not be taken in; the stream ends")
            self._answer.finish(Status.INTERNAL, f"a frame could not be taken in: {error}")
            self.stream.abandon()
            return True

    def half_closed(self) -> None:
        self.stream.drain()

    def aborted(self) -> None:
        self.stream.abandon()

    # -------------------------------------------------------------- Out

    def send(self, message: bytes) -> None:
        self._answer.send(message)

    def finish(self) -> None:
        self._answer.finish()
        self.stream.close()
        self._forget(self.stream)


class HealthCheck:
    """The call of that name."""

    def __init__(self, server: Server, answer: Answer) -> None:
        self._server = server
        self._answer = answer

    def message(self, _data: bytes) -> bool:
        self._answer.send(self._server.health().SerializeToString())
        return True

    def half_closed(self) -> None:
        self._answer.finish()

    def aborted(self) -> None:
        pass


def _hung(hung: Hung) -> pb.HungExecutions:
    return pb.HungExecutions(
        policy=hung.instance.key,
        api_name=hung.instance.about.api_name,
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
    either = policy.get_policy is not None  # its object is not made yet: it may have both
    message = pb.LoadedPolicy(name=policy.name, version=policy.version)
    if policy.failure is not None:
        message.failure.CopyFrom(failure_message(policy.failure))
    else:
        message.on_request = either or policy.on_request is not None
        message.on_response = either or policy.on_response is not None
    return message
