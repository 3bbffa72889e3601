"""Policies written inline, served by a real server on a real socket, asked by a small engine."""

from __future__ import annotations

import itertools
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from gatewright_executor._gen import python_executor_pb2 as pb
from gatewright_executor.policies import policy_loader, source_paths
from gatewright_executor.policies.policy_loader import LoadedPolicy
from gatewright_executor.replacement import ReplacementNeeded, replacement_needed
from gatewright_executor.running.limits import LIMITS, Limits
from gatewright_executor.server import Server
from gatewright_executor.testing import Clock, Engine, request_stream

FOLDERS = itertools.count()


class PassTime:
    """Lets time pass for an executor that has the policy `late`, until it has checked for late streams."""

    policy = """
        import asyncio

        async def on_request_stream(ctx, chunks, params):
            await asyncio.Event().wait()
            yield b""
    """
    instance = 99

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._numbers = itertools.count(99_000)

    def __call__(self, engine: Engine) -> None:
        """Once no stream is at work. The check that finds a late stream of `late` would have found others too."""
        engine.wait(lambda: not engine.health().oldest_execution_policy)
        if self.instance not in engine.statuses:
            engine.configure(self.instance, "late:v1.0.0")
        engine.send(request_stream(number := next(self._numbers), self.instance, seconds=1))
        engine.wait(lambda: engine.health().oldest_execution_policy == "late:v1.0.0")
        self._clock.move(1000)
        assert engine.action(number).failure.failure_class == pb.FAILURE_CLASS_TIMEOUT


@pytest.fixture
def clock() -> Clock:
    """For an executor: start_engine(clock=clock, …)."""
    return Clock()


@pytest.fixture
def pass_time(clock: Clock) -> PassTime:
    """pass_time(engine), for an engine of start_engine(clock=clock, late=pass_time.policy, …)."""
    return PassTime(clock)


@pytest.fixture
def of_test(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """What a test sets in it, its policies find there: `import of_test`."""
    module = ModuleType("of_test")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module


@pytest.fixture(autouse=True)
def needed() -> Iterator[ReplacementNeeded]:
    """The process's own, reset for each test: policies of many tests raise MemoryError."""
    replacement_needed.memory_exhausted = replacement_needed.thread_failed = False
    yield replacement_needed
    replacement_needed.memory_exhausted = replacement_needed.thread_failed = False


@pytest.fixture
def limits() -> Limits:
    """Those of `serve` and `start_engine`; tests that are about a limit parametrize it."""
    return LIMITS


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., dict[str, LoadedPolicy]]]:
    """load(name=source, …) → the policies "name:v1.0.0", imported from files in a folder of their own, where a build
    would have copied them to.
    """
    copies, known = tmp_path / "policies", dict[str, str]()

    def load(**sources: str) -> dict[str, LoadedPolicy]:
        folder = f"policies_{next(FOLDERS)}"
        (copies / folder).mkdir(parents=True)
        for name, source in sources.items():
            (copies / folder / f"{name}.py").write_text(textwrap.dedent(source))
        monkeypatch.syspath_prepend(copies)
        known[folder] = folder
        source_paths.learn(known)
        return policy_loader.load_all({f"{name}:v1.0.0": f"{folder}.{name}" for name in sources})

    yield load
    source_paths.learn({})


@pytest.fixture
def serve(
    load: Callable[..., dict[str, LoadedPolicy]], limits: Limits, tmp_path: Path
) -> Iterator[Callable[..., Path]]:
    """serve(name=source, …) → the socket of a running executor; `workers=N` is how many it has (4), `clock` its own."""
    servers: list[Server] = []

    def serve(workers: int = 4, clock: Callable[[], float] = time.monotonic, **sources: str) -> Path:
        server = Server(load(**sources), workers, clock=clock, limits=limits)
        socket = tmp_path / f"{len(servers)}.sock"
        server.start(socket)
        servers.append(server)
        return socket

    yield serve
    for server in servers:
        server.stop(0)


@pytest.fixture
def start_engine(serve: Callable[..., Path]) -> Iterator[Callable[..., Engine]]:
    """start_engine(name=source, …) → an engine with a stream to a new executor."""
    engines: list[Engine] = []

    def start_engine(workers: int = 4, clock: Callable[[], float] = time.monotonic, **sources: str) -> Engine:
        engines.append(Engine(serve(workers, clock, **sources)))
        return engines[-1]

    yield start_engine
    for engine in engines:
        engine.__exit__(None, None, None)
