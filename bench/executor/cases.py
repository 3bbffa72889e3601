"""The cases in which executors are measured: a server, its executions, and their number."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.executor.messages import BODY, REQUEST, RESPONSE

REGISTRY = Path("bench/executor/policies/python_policy_registry.py")
RUN = "from gatewright_executor.main import main; main()"
V0, V1, BUILT_IN = "V0", "V1", "ours"


@dataclass(frozen=True)
class Server:
    """key: its name. module: a server of the bench; None for the real executor, with a fixed number of workers."""

    key: str
    title: str
    module: str | None = None
    workers: int = 32
    processes: int = 1

    def command(self, socket: str) -> list[str]:
        if self.module:
            return [sys.executable, "-m", self.module, "--listen", socket]
        workers = ["--workers", str(self.workers), "--max-workers", str(self.workers)]
        return [sys.executable, "-c", RUN, "--listen", socket, "--registry", str(REGISTRY), *workers]


ECHO = Server(V0, "grpc.aio echo, one message per execution", "bench.naive.echo")
NAIVE = Server(V1, "naive executor", "bench.naive.executor")
EXECUTOR = Server(BUILT_IN, "the executor")
EIGHT = Server("ours-8", "the executor, 8 workers", workers=8)
MANY = Server("ours-72", "the executor, 72 workers", workers=72)
PAIR = Server("ours-pair", "the executor, 2 processes", processes=2)
SERVERS = (ECHO, NAIVE, EXECUTOR, EIGHT, MANY, PAIR)


@dataclass(frozen=True)
class Case:
    """A line of the table. rate: executions per second; 0: a closed loop. times_v0: the rate as a multiple of V0's."""

    key: str
    server: Server
    in_flight: int
    sent: str = REQUEST
    policy: str = "headers"
    params: Mapping[str, object] = field(default_factory=dict)
    rate: float = 0.0
    times_v0: float = 0.0


def _cases_of_servers(kind: str, in_flight: int, sent: str) -> tuple[Case, ...]:
    return tuple(Case(f"{kind}-{in_flight}", server, in_flight, sent) for server in (ECHO, NAIVE, EXECUTOR))


NUMBERS = (1, 8, 64, 256)
LIGHT, HEAVY = "light", "heavy"
QUIET, ONE_PERCENT, SLEEPY, COMPUTING = "quiet", "one-percent", "sleepy", "computing"
COMPUTE = {"rounds": 4000}

CASES = (
    *(case for number in NUMBERS for case in _cases_of_servers(REQUEST, number, REQUEST)),
    *_cases_of_servers(RESPONSE, 64, RESPONSE),
    *_cases_of_servers(BODY, 64, BODY),
    Case(QUIET, EIGHT, 64, policy="blocking", params={"every": 1 << 40, "seconds": 0.0}),
    Case(ONE_PERCENT, EIGHT, 64, policy="blocking", params={"every": 100, "seconds": 0.02}),
    Case(ONE_PERCENT, MANY, 64, policy="blocking", params={"every": 100, "seconds": 0.02}),
    Case(SLEEPY, MANY, 64, policy="blocking", params={"every": 1, "seconds": 0.001}),
    Case(COMPUTING, EXECUTOR, 64, policy="computing", params=COMPUTE),
    Case(COMPUTING, PAIR, 64, policy="computing", params=COMPUTE),
    Case(LIGHT, EXECUTOR, 4096, rate=1000.0),
    Case(HEAVY, EXECUTOR, 4096, times_v0=5.0),
)
SATURATION = f"{REQUEST}-64"  # the case that determines V0's rate
