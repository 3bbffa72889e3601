"""Takes all samples of executors, interleaved."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench import cpu, load_tool
from bench.executor import messages, start, streams
from bench.executor.cases import BUILT_IN, CASES, REGISTRY, SATURATION, SERVERS, V0, V1, Case, Server
from bench.executor.messages import REQUEST
from bench.load_tool import Result
from bench.processes import environment, running
from bench.sample import FOREIGN_LIMIT, Mark

WARMUP = 0.5
OWN_METHOD = "/gatewright.executor.v1.PythonExecutorService/ExecuteStream"
NAIVE_METHOD = "/gatewright.bench.naive.NaiveExecutor/ExecuteStream"
INPROC_PROGRAM = "gateway-runtime/python-executor/bench/inproc.py"  # part of the executor: calls its internals
START, IMPORT, RESIDENT, INPROC = "start", "import", "resident", "inproc"
STREAM_RATE, STREAM_EVENT, STREAM_IDLE = "stream: MB/s", "stream: CPU µs of an event", "stream: KB that one takes"


@dataclass(frozen=True)
class Sample:
    """cpu: µs of the server's processes per right answer. result: None for a figure without load, which is `value`."""

    case: str
    server: str
    round: int
    value: float = 0.0
    result: Result | None = None
    cpu: float = 0.0
    foreign: float = 0.0

    @property
    def rate(self) -> float:
        """Right answers per second."""
        return self.result.count / self.result.seconds if self.result else 0.0

    @property
    def disturbed(self) -> bool:
        return self.foreign > FOREIGN_LIMIT


@dataclass
class Running:
    """A server's processes."""

    sockets: list[str] = field(default_factory=list)
    pids: list[int] = field(default_factory=list)


class Campaign:
    """The running servers, and the measurements of them."""

    def __init__(self, binary: Path, folder: Path, duration: float, cases: Sequence[Case]) -> None:
        self._binary = binary
        self._folder = folder
        self._duration = duration
        self._cases = cases
        self._servers: dict[str, Running] = {}

    @contextlib.contextmanager
    def start(self) -> Iterator[Campaign]:
        """Starts all servers that the cases need."""
        with contextlib.ExitStack() as stack:
            for server in SERVERS:
                if any(case.server == server for case in self._cases):
                    self._servers[server.key] = stack.enter_context(self._start(server))
            yield self

    def round(self, number: int) -> Iterator[Sample]:
        """Takes one sample of each case, in every other round backwards; cases at a multiple of V0's rate come last."""
        saturation = 0.0
        cases = [case for case in self._cases if not case.times_v0]
        for case in cases if number % 2 == 0 else cases[::-1]:
            sample = self._take_sample(case, number, case.rate)
            if (case.key, case.server.key) == (SATURATION, V0):
                saturation = sample.rate
            yield sample
        for case in self._cases:
            if case.times_v0 and saturation:
                yield self._take_sample(case, number, case.times_v0 * saturation)
        yield from self._measure_without_load(number)

    def _measure_without_load(self, number: int) -> Iterator[Sample]:
        yield Sample(IMPORT, BUILT_IN, number, start.import_seconds(self._folder))
        yield Sample(START, BUILT_IN, number, start.executor_seconds(self._folder))
        for kind in (REQUEST, messages.RESPONSE, messages.BODY):
            yield Sample(f"{INPROC}-{kind}", BUILT_IN, number, _inproc(kind, self._folder))

    @contextlib.contextmanager
    def _start(self, server: Server) -> Iterator[Running]:
        executors = Running()
        with contextlib.ExitStack() as stack:
            for number in range(server.processes):
                path = self._folder / f"{server.key}-{number}.sock"
                log = self._folder / f"{server.key}-{number}.log"
                process = stack.enter_context(running(server.command(f"unix:{path}"), log))
                start.await_socket(path, process, log)
                executors.sockets.append(f"unix:{path}")
                executors.pids.append(process.pid)
            yield executors

    def resident(self) -> float:
        """The RSS in MB of an executor before its first execution."""
        return start.resident_mb(self._servers[BUILT_IN].pids[0])

    def _take_sample(self, case: Case, number: int, rate: float) -> Sample:
        server, marks = self._servers[case.server.key], list[Mark]()

        def mark(_generator: int) -> None:
            marks.append(Mark.now())

        result = load_tool.drive(self._command(case, server, rate), WARMUP + self._duration, self._folder, mark, mark)
        before, after = (mark.snapshot for mark in marks)
        seconds = marks[1].at - marks[0].at
        used = sum(cpu.own(before, after, pid) for pid in server.pids)
        answers = result.count / result.seconds * seconds
        foreign = cpu.foreign(before, after, os.getpid()) / seconds
        microseconds = used / answers * 1e6 if answers else 0.0
        return Sample(case.key, case.server.key, number, result=result, cpu=microseconds, foreign=foreign)

    def _command(self, case: Case, server: Running, rate: float) -> list[str]:
        spans = ["-warmup", f"{WARMUP}s", "-duration", f"{self._duration}s"]
        amount = ["-in-flight", str(case.in_flight), "-rate", str(rate)]
        sockets = [word for socket in server.sockets for word in ("-socket", socket)]
        return [str(self._binary), "executions", *sockets, *amount, *spans, *self._protocol(case)]

    def _protocol(self, case: Case) -> list[str]:
        if case.server.key == V1:
            message = messages.write_message(self._folder, "naive.bin", messages.naive_execution(case.sent))
            return ["-method", NAIVE_METHOD, "-message", str(message), "-expect", messages.PARAMS["headerName"]]
        message = messages.write_message(self._folder, "execution.bin", messages.execution(case.sent))
        if case.server.key == V0:
            return ["-method", NAIVE_METHOD, "-message", str(message), "-expect", messages.EXPECT]
        first = messages.configure(case.policy, case.params, case.server.workers)
        configure = str(messages.write_message(self._folder, "configure.bin", first))
        expect = messages.PARAMS["headerName"].lower()
        return ["-method", OWN_METHOD, "-message", str(message), "-configure", configure, "-expect", expect]


def _streams(folder: Path) -> Iterator[Sample]:
    measured = streams.measure(folder)
    yield Sample(STREAM_RATE, BUILT_IN, 0, measured.megabytes)
    yield Sample(STREAM_EVENT, BUILT_IN, 0, measured.event)
    yield Sample(STREAM_IDLE, BUILT_IN, 0, measured.idle)


def _inproc(kind: str, folder: Path) -> float:
    execution = messages.write_message(folder, "inproc.bin", messages.execution(kind))
    command = [
        sys.executable, INPROC_PROGRAM, "--registry", str(REGISTRY), "--policy", "headers:v1.0.0",
        "--parameters", json.dumps(messages.PARAMS), "--execution", str(execution),
    ]  # fmt: skip
    policies = {"PYTHONPATH": "."}  # the registry names policies as modules of this repository
    result = subprocess.run(command, capture_output=True, text=True, check=True, env=environment() | policies)
    return float(json.loads(result.stdout)["us"])


def run(rounds: int, duration: float, cases: Sequence[Case] = CASES) -> Iterator[Sample]:
    """Takes all samples."""
    with tempfile.TemporaryDirectory() as scratch:  # a socket's path must be short
        folder = Path(scratch)
        with Campaign(load_tool.build(folder), folder, duration, cases).start() as campaign:
            if any(case.server.key == BUILT_IN for case in cases):
                yield Sample(RESIDENT, BUILT_IN, 0, campaign.resident())
                yield from _streams(folder)
            for number in range(rounds):
                yield from campaign.round(number)


Figures = Mapping[tuple[str, str], Sequence[Sample]]


def by_case(samples: Sequence[Sample]) -> Figures:
    """(case, server) → its samples."""
    cases: dict[tuple[str, str], list[Sample]] = {}
    for sample in samples:
        cases.setdefault((sample.case, sample.server), []).append(sample)
    return cases
