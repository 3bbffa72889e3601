"""Streams through an executor: bytes per second, the CPU time of an event, the memory of an idle stream.

`python -m bench.executor.streams` measures only these three.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue

import grpc
from gatewright_executor._gen import python_executor_pb2 as pb
from gatewright_executor._gen.python_executor_pb2_grpc import PythonExecutorServiceStub

from bench import cpu
from bench.executor import messages, start
from bench.executor.cases import EXECUTOR
from bench.processes import running

BYTES = 512 << 20  # of the throughput measurement, in all
AT_ONCE = 4  # its streams
WAITING = 2000  # streams of the measurement of events
EVENT_BYTES = 200
WINDOW_BYTES, PIECE_BYTES = 256 << 10, 64 << 10  # of python_executor.proto: the initial credit, and the size of a piece
EVENTS_PER_SECOND = 1  # of each stream
SECONDS = 5  # of events
UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


@dataclass(frozen=True)
class Figures:
    """megabytes: per second. core: the cores in use meanwhile. event: µs of CPU for an event. late_ms: the p99 of
    the events' delays. idle: KB of an idle stream."""

    megabytes: float
    core: float
    event: float
    late_ms: float
    idle: float


@dataclass
class Engine:
    """The engine's side of the protocol: it keeps to its credit, and returns credit at once."""

    socket: Path
    requests: SimpleQueue[pb.RequestFrame | None] = field(default_factory=SimpleQueue)

    def __post_init__(self) -> None:
        channel = grpc.insecure_channel(f"unix:{self.socket}", options=UNLIMITED)
        self.replies: Iterator[pb.ReplyFrame] = PythonExecutorServiceStub(channel).ExecuteStream(
            iter(self.requests.get, None)
        )
        configured = pb.RequestFrame.FromString(messages.configure("passing", {}, 0))
        self.requests.put(configured)
        while not next(self.replies).instances:
            pass

    def open(self, numbers: Iterable[int]) -> None:
        """Opens streams, with the headers of a browser's request."""
        message = pb.Execution.FromString(messages.execution(messages.RESPONSE))
        message.phase = pb.PHASE_RESPONSE_STREAM
        frame = pb.RequestFrame()
        for number in numbers:
            message.id = number
            frame.executions.append(message)
        self.requests.put(frame)

    def pass_through(self, numbers: list[int], size: int) -> None:
        """Sends `size` bytes through each of these streams, and waits until they have ended."""
        data = bytes(PIECE_BYTES)
        left = dict.fromkeys(numbers, size)
        self._feed(dict.fromkeys(numbers, WINDOW_BYTES), left, data, {})
        ended = 0
        while ended < len(numbers):
            reply = next(self.replies)
            ended += len(reply.actions)
            received: dict[int, int] = {}
            for piece in reply.pieces:
                received[piece.id] = received.get(piece.id, 0) + len(piece.data)
            self._feed({credit.id: credit.bytes for credit in reply.credit}, left, data, received)

    def _feed(self, credit: dict[int, int], left: dict[int, int], data: bytes, received: dict[int, int]) -> None:
        frame = pb.RequestFrame(credit=[pb.Credit(id=number, bytes=size) for number, size in received.items()])
        for number, more in credit.items():
            for _ in range(more // PIECE_BYTES):
                if left[number] > 0:
                    left[number] -= PIECE_BYTES
                    frame.pieces.add(id=number, data=data, last=left[number] <= 0)
        if frame.pieces or frame.credit:
            self.requests.put(frame)

    def events(self, numbers: list[int], seconds: int) -> tuple[int, float]:
        """Sends one event a second on each stream, spread over the second. Returns how many came back, and the p99 of
        their delays in ms."""
        start_time, sent, received = time.monotonic(), 0, 0
        delays: list[float] = []
        total = len(numbers) * seconds * EVENTS_PER_SECOND
        batch = max(1, len(numbers) * EVENTS_PER_SECOND // 100)  # every 10 ms
        while received < total:
            while sent < total and time.monotonic() >= start_time + sent / len(numbers) / EVENTS_PER_SECOND:
                stamp = b"%020.6f" % time.monotonic() + bytes(EVENT_BYTES - 20)
                pieces = [
                    pb.Piece(id=numbers[index % len(numbers)], data=stamp)
                    for index in range(sent, min(total, sent + batch))
                ]
                sent += len(pieces)
                self.requests.put(pb.RequestFrame(pieces=pieces))
            reply = next(self.replies)
            now = time.monotonic()
            for piece in reply.pieces:
                delays += [now - float(piece.data[at : at + 20]) for at in range(0, len(piece.data), EVENT_BYTES)]
            received = len(delays)
            if received == sent < total:
                time.sleep(max(0.0, start_time + sent / len(numbers) / EVENTS_PER_SECOND - time.monotonic()))
        return received, sorted(delays)[int(0.99 * len(delays))] * 1e3

    def await_pieces(self, count: int) -> None:
        """Waits until so many pieces have come."""
        while count > 0:
            count -= len(next(self.replies).pieces)


def measure(folder: Path) -> Figures:
    """Measures streams of an executor process of its own."""
    path, log = folder / "streams.sock", folder / "streams.log"
    with running(EXECUTOR.command(f"unix:{path}"), log) as process:
        start.await_socket(path, process, log)
        engine = Engine(path)
        warm = [*range(1, 1 + AT_ONCE)]
        engine.open(warm)
        engine.pass_through(warm, 16 << 20)
        rest = start.resident_mb(process.pid)
        waiting = [*range(1000, 1000 + WAITING)]
        engine.open(waiting)
        engine.requests.put(pb.RequestFrame(pieces=[pb.Piece(id=number, data=bytes(20)) for number in waiting]))
        engine.await_pieces(WAITING)
        idle = (start.resident_mb(process.pid) - rest) * 1024 / WAITING
        before = _cpu(process.pid)
        count, late = engine.events(waiting, SECONDS)
        event = (_cpu(process.pid) - before) / count * 1e6
        engine.requests.put(pb.RequestFrame(cancel=waiting))
        numbers = [*range(100, 100 + AT_ONCE)]
        engine.open(numbers)
        start_time, before = time.monotonic(), _cpu(process.pid)
        engine.pass_through(numbers, BYTES // AT_ONCE)
        took = time.monotonic() - start_time
        figures = Figures(BYTES / took / 1e6, (_cpu(process.pid) - before) / took, event, late, idle)
        engine.requests.put(None)
    return figures


def _cpu(pid: int) -> float:
    return cpu.snapshot().processes[pid].own


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        print(measure(Path(scratch)), file=sys.stdout)
