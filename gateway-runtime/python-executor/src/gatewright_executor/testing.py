"""A small engine for tests that talk to an executor. It needs grpcio, which an executor does not."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import TypeVar

import grpc
from gatewright.params import JsonValue
from gatewright.testing import HeaderLines, header_blob

from gatewright_executor._gen import python_executor_pb2 as pb
from gatewright_executor._gen.python_executor_pb2_grpc import PythonExecutorServiceStub
from gatewright_executor.server import MAX_MESSAGE_BYTES

T = TypeVar("T")
SECONDS = 30.0  # the longest wait of a test
NONE: Mapping[int, int] = {}
POLL_SECONDS = 0.01  # for conditions that no frame reports


class Clock:
    """The clock of an executor: it stands still until a test moves it.

    It begins at time.monotonic(), since executions that wait for a slot are late by that.
    """

    def __init__(self) -> None:
        self._now = time.monotonic()

    def __call__(self) -> float:
        """Seconds."""
        return self._now

    def move(self, seconds: float) -> None:
        """Moves the clock on."""
        self._now += seconds


def eventually(condition: Callable[[], bool]) -> bool:
    """Waits until `condition()` is true; False if that takes longer than SECONDS."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


class Engine:
    """One stream to an executor. It collects the replies; `wait` waits for one."""

    def __init__(self, socket: Path) -> None:
        options = [
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
            ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        ]
        self.address = f"unix:{socket}"
        self._channel = grpc.insecure_channel(self.address, options=options)
        grpc.channel_ready_future(self._channel).result(SECONDS)
        self._stub = PythonExecutorServiceStub(self._channel)
        self._requests: SimpleQueue[pb.RequestFrame | None] = SimpleQueue()
        self._call = self._stub.ExecuteStream(iter(self._requests.get, None))
        self._changed = threading.Condition()
        self.frames: list[pb.ReplyFrame] = []
        self.work_us: dict[int, int] = {}  # of each action, by its execution
        self.error: grpc.RpcError | None = None
        self.ended = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._call.cancel()
        self._requests.put(None)
        self._reader.join(SECONDS)
        self._channel.close()

    # -------------------------------------------------------------- what goes out

    def send(
        self,
        *executions: pb.Execution,
        configure: Iterable[pb.ConfigureInstance] = (),
        cancel: Iterable[int] = (),
        close: Iterable[int] = (),
        late: Iterable[pb.Execution] = (),
        pieces: Iterable[pb.Piece] = (),
        credit: Mapping[int, int] = NONE,
        store_results: Iterable[pb.StoreResult] = (),
    ) -> None:
        """Sends a frame. `late` are executions whose deadline has passed; `credit` is by execution."""
        late = [*late]
        self._requests.put(
            pb.RequestFrame(
                executions=executions,
                configure=configure,
                cancel=[*cancel, *(execution.id for execution in late)],
                timed_out=map(timed_out, late),
                close=close,
                pieces=pieces,
                credit=[pb.Credit(id=number, bytes=size) for number, size in credit.items()],
                store_results=store_results,
            )
        )

    def half_close(self) -> None:
        """Ends the engine's side of the stream."""
        self._requests.put(None)

    def configure(
        self,
        instance: int,
        policy: str,
        params: JsonValue = None,
        *,
        max_concurrency: int = 0,
        prepare_timeout_ms: int = 0,
    ) -> pb.InstanceStatus:
        """Configures an instance of "name:version", and waits for its status."""
        configure = configuration(
            instance, policy, params, max_concurrency=max_concurrency, prepare_timeout_ms=prepare_timeout_ms
        )
        self.send(configure=[configure])
        return self.wait(lambda: self.statuses.get(instance))

    def execute(self, execution: pb.Execution) -> pb.Action:
        """Sends one execution, and waits for its action."""
        self.send(execution)
        return self.action(execution.id)

    def health(self) -> pb.HealthCheckResponse:
        """The health check's response, on the same connection; grpc.RpcError after 10 s without an answer."""
        return self._stub.HealthCheck(pb.HealthCheckRequest(), timeout=SECONDS)

    def collect_metrics(self, version: int = 0) -> pb.CollectMetricsResponse:
        """The metrics of policies that have changed since a version, on the same connection."""
        return self._stub.CollectMetrics(pb.CollectMetricsRequest(version=version), timeout=SECONDS)

    def set_log_level(self, level: str) -> None:
        """Sets the log level, on the same connection; grpc.RpcError if it is refused."""
        self._stub.SetLogLevel(pb.SetLogLevelRequest(level=level), timeout=SECONDS)

    # -------------------------------------------------------------- what came back

    @property
    def hello(self) -> pb.Hello:
        """Waits for the executor's hello."""
        return self.wait(lambda: self.frames[0].hello if self.frames else None)

    @property
    def acknowledged(self) -> int:
        """The number of frames acknowledged so far."""
        return max((frame.frames_acknowledged for frame in self.frames), default=0)

    @property
    def statuses(self) -> dict[int, pb.InstanceStatus]:
        """The last status of each instance."""
        return {status.instance: status for frame in self.frames for status in frame.instances}

    @property
    def actions(self) -> list[pb.Action]:
        """All actions, in the order in which they came."""
        return [action for frame in self.frames for action in frame.actions]

    def action(self, number: int) -> pb.Action:
        """Waits for the action of an execution."""
        return self.wait(lambda: next((action for action in self.actions if action.id == number), None))

    def located(self, number: int) -> tuple[str, int]:
        """Waits for the place of a late execution: the file's name, and the line."""
        located = self.wait(
            lambda: next((place for frame in self.frames for place in frame.located if place.id == number), None)
        )
        return Path(located.file).name, located.line

    def pieces(self, number: int) -> list[bytes]:
        """The pieces that a stream has yielded so far."""
        return [piece.data for frame in self.frames for piece in frame.pieces if piece.id == number]

    def yielded(self, number: int) -> bytes:
        """All bytes that a stream has yielded so far."""
        return b"".join(self.pieces(number))

    @property
    def spans(self) -> list[bytes]:
        """The ResourceSpans of policies, in the order in which they came."""
        return [spans for frame in self.frames for spans in frame.spans]

    def store_call(self, number: int) -> pb.StoreCall:
        """Waits for a call of the store, by its id."""
        return self.wait(
            lambda: next((call for frame in self.frames for call in frame.store_calls if call.id == number), None)
        )

    def credit(self, number: int) -> int:
        """The bytes for which a stream has sent credit so far."""
        return sum(credit.bytes for frame in self.frames for credit in frame.credit if credit.id == number)

    def wait(self, find: Callable[[], T | None]) -> T:
        """Waits until `find` returns a true value, and returns it; TimeoutError after 10 s or at the stream's end."""
        deadline = time.monotonic() + SECONDS
        with self._changed:
            while not (result := find()):
                if self.ended or time.monotonic() > deadline:
                    raise TimeoutError(f"expected something else than these frames: {self.frames}, error {self.error}")
                self._changed.wait(POLL_SECONDS)
        return result

    def _read(self) -> None:
        try:
            for frame in self._call:
                with self._changed:
                    for action in frame.actions:  # kept apart, so that tests can compare actions
                        self.work_us[action.id] = action.work_us
                        action.ClearField("work_us")
                    self.frames.append(frame)
                    self._changed.notify_all()
        except grpc.RpcError as error:
            self.error = error
        with self._changed:
            self.ended = True
            self._changed.notify_all()


def timed_out(execution: pb.Execution) -> pb.TimedOut:
    """The engine's message about an execution whose deadline has passed."""
    return pb.TimedOut(
        id=execution.id,
        instance=execution.instance,
        phase=execution.phase,
        timeout_us=execution.timeout_us,
        request_id=execution.request_id,
        operation=execution.operation,
    )


def configuration(
    instance: int,
    policy: str,
    params: JsonValue = None,
    *,
    max_concurrency: int = 0,
    prepare_timeout_ms: int = 0,
    instance_id: str = "",
) -> pb.ConfigureInstance:
    """Of "name:version"."""
    name, _, version = policy.partition(":")
    return pb.ConfigureInstance(
        instance=instance,
        policy_name=name,
        policy_version=version,
        parameters=json.dumps({} if params is None else params).encode(),
        max_concurrency=max_concurrency,
        prepare_timeout_ms=prepare_timeout_ms,
        instance_id=instance_id,
    )


def request_execution(
    number: int, instance: int = 1, headers: HeaderLines = (), *, seconds: float = SECONDS, traceparent: str = ""
) -> pb.Execution:
    """An execution in the request phase. traceparent: of its span, if it is traced."""
    return pb.Execution(
        id=number,
        instance=instance,
        phase=pb.PHASE_REQUEST,
        timeout_us=int(seconds * 1e6),
        request_id=b"request-%d" % number,
        method=b"GET",
        path=b"/orders/1",
        query=b"a=b",
        scheme=b"http",
        authority=b"localhost",
        client_address=b"127.0.0.1:1",
        operation=b"GET /orders/{id}",
        request_headers=header_blob(headers),
        traceparent=traceparent.encode(),
    )


def request_stream(
    number: int,
    instance: int = 1,
    headers: HeaderLines = (),
    *,
    seconds: float = SECONDS,
    traceparent: str = "",
    source: int = 0,
) -> pb.Execution:
    """A stream of a request's body. seconds: the limit of its own work. source: the stream whose output the body is."""
    execution = request_execution(number, instance, headers, seconds=seconds, traceparent=traceparent)
    execution.phase = pb.PHASE_REQUEST_STREAM
    execution.source = source
    return execution


def response_stream(number: int, instance: int = 1, *, seconds: float = SECONDS) -> pb.Execution:
    """A stream of a response's body."""
    execution = response_execution(number, instance)
    execution.phase, execution.timeout_us = pb.PHASE_RESPONSE_STREAM, int(seconds * 1e6)
    return execution


def piece(number: int, data: bytes = b"", *, last: bool = False, trailers: HeaderLines | None = None) -> pb.Piece:
    """A piece of a body. trailers: for the last piece; None: the message has none."""
    return pb.Piece(id=number, data=data, last=last, trailers=header_blob(trailers) if trailers is not None else None)


def response_execution(number: int, instance: int = 1, headers: HeaderLines = (), *, status: int = 200) -> pb.Execution:
    """An execution in the response phase."""
    execution = request_execution(number, instance)
    execution.phase = pb.PHASE_RESPONSE
    execution.status = status
    execution.response_headers = header_blob(headers)
    return execution
