"""Executions that run in the thread that read them: only the time that they take differs."""

import math
import threading
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from gatewright.policy import PolicyMetadata, RequestContext
from gatewright_executor._gen import python_executor_pb2 as pb
from gatewright_executor.critical_thread import CriticalThread
from gatewright_executor.policies.policy_loader import Hook
from gatewright_executor.replacement import ReplacementNeeded
from gatewright_executor.running import inline_runner
from gatewright_executor.running.dispatch import Dispatcher, SlotBatch
from gatewright_executor.running.inline_runner import BATCH_SECONDS, InlineBatch, InlineRunner, drained
from gatewright_executor.running.instance import Concurrency, Execution, Instance, ResultSink
from gatewright_executor.running.latency import RUN, STRIKES
from gatewright_executor.running.stall_watchdog import LOOKS
from gatewright_executor.running.worker import Worker
from gatewright_executor.testing import SECONDS, Clock, Engine, eventually, request_execution
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st


class NoRunner:
    def claim(self, _execution: Execution) -> bool:
        return True

    def deliver(self, _execution: Execution, _action: bytes | None) -> None: ...

    def flush(self) -> None: ...

    def abort(self) -> None: ...


SAYS_WHERE = """
    import threading
    from gatewright.policy import UpstreamRequestModifications

    gate = threading.Event()

    def on_request(ctx, params):
        if ctx.headers.get("x-hang"):
            gate.wait(30)
        return UpstreamRequestModifications(set_headers={"x-thread": threading.current_thread().name})
"""


NAPS = """
    import time

    def on_request(ctx, params):
        if seconds := float(ctx.headers["x-nap"]):
            time.sleep(seconds)
"""


def thread_of(engine: Engine, number: int, instance: int = 1) -> bytes:
    """The name of the thread that runs an execution of SAYS_WHERE."""
    return engine.execute(request_execution(number, instance)).set_headers.split(b"\0")[1]


def run_until_quick(engine: Engine, instance: int, first: int = 1000) -> int:
    """Executes SAYS_WHERE until the thread that reads runs it. Returns how often: more than RUN times, and more on a
    busy machine, whose pauses make an execution slow."""
    for number in range(first, first + 1000):
        if thread_of(engine, number, instance) == b"connection":
            return number - first + 1
    raise AssertionError("expected the instance to be promoted to quick within 1000 executions")


def test_a_quick_policy_runs_in_the_thread_that_reads(start_engine: Callable[..., Engine]) -> None:
    engine = start_engine(gated=SAYS_WHERE)
    engine.configure(1, "gated:v1.0.0")
    assert thread_of(engine, 1).startswith(b"worker-"), "nothing is known of it yet"
    ran = run_until_quick(engine, 1)
    assert ran >= RUN
    assert engine.health().executions_finished == 1 + ran


def test_executions_of_a_policy_not_known_to_be_quick_are_handed_to_workers() -> None:
    instance = Instance(PolicyMetadata("p", "v1.0.0", "orders", "v1.0"), {})
    instance.make_ready({pb.PHASE_REQUEST: Hook("on_request", lambda _ctx, _params: None)}, None, Concurrency(1, 1))
    assert not instance.runs_inline(pb.PHASE_REQUEST)
    for _ in range(RUN):
        instance.latency.record(slow=False)
    assert instance.runs_inline(pb.PHASE_REQUEST)
    assert not instance.runs_inline(pb.PHASE_RESPONSE), "there is nothing to run"
    for _ in range(STRIKES):
        instance.latency.record(slow=True)
    assert not instance.runs_inline(pb.PHASE_REQUEST)


@given(
    hangs=st.lists(st.sampled_from([0.0, 0.0, 0.0, 0.0005, 0.03]), min_size=1, max_size=60), frame=st.integers(1, 20)
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_each_execution_is_answered_once_whichever_stalls(
    start_engine: Callable[..., Engine], hangs: list[float], frame: int
) -> None:
    engine = start_engine(naps=NAPS)
    for instance in (1, 2, 3):
        engine.configure(instance, "naps:v1.0.0", max_concurrency=3)
        for number in range(RUN):
            engine.execute(request_execution(1000 * instance + number, instance, headers={"x-nap": "0"}))
    before = engine.health().executions_finished
    sent = [request_execution(n, 1 + n % 3, headers={"x-nap": str(nap)}) for n, nap in enumerate(hangs, start=1)]
    for first in range(0, len(sent), frame):
        engine.send(*sent[first : first + frame])
    engine.wait(lambda: len(engine.actions) >= before + len(sent))
    engine.wait(lambda: engine.health().executions_finished == before + len(sent))
    assert sorted(action.id for action in engine.actions if action.id < 1000) == [*range(1, len(sent) + 1)]
    engine.half_close()
    engine.wait(lambda: engine.ended)


def test_a_quick_execution_that_stalls_after_all_delays_no_other(start_engine: Callable[..., Engine]) -> None:
    engine = start_engine(gated=SAYS_WHERE)
    engine.configure(1, "gated:v1.0.0")
    engine.configure(2, "gated:v1.0.0")
    run_until_quick(engine, 2, first=2000)
    run_until_quick(engine, 1)
    hangs = request_execution(1, 1, headers={"x-hang": "1"})
    engine.send(hangs, *(request_execution(number, 1 + number % 2) for number in range(2, 20)))
    for number in range(2, 20):
        assert engine.action(number).set_headers, "what came behind it in its frame"
    run_until_quick(engine, 2, first=3000)  # another thread reads on
    assert thread_of(engine, 20, 1).startswith(b"worker-"), "this one is not quick any more"
    assert engine.health().oldest_execution_policy == "gated:v1.0.0"
    assert engine.health().executions_started - engine.health().executions_finished == 1


def test_what_a_stalled_batch_has_done_is_counted_once_it_is_over(start_engine: Callable[..., Engine]) -> None:
    engine = start_engine(gated=SAYS_WHERE.replace("wait(30)", "wait(0.05)"))
    engine.configure(1, "gated:v1.0.0")
    ran = 0
    for row in range(3):
        ran += 1 + run_until_quick(engine, 1, first=1000 * (row + 1))
        engine.execute(request_execution(1 + row, 1, headers={"x-hang": "1"}))
    engine.wait(lambda: engine.health().executions_finished == ran)
    assert engine.health().executions_started == ran


def test_a_batch_that_fails_ends_its_stream_and_no_other(
    start_engine: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = start_engine(gated=SAYS_WHERE)
    engine.configure(1, "gated:v1.0.0")
    with monkeypatch.context() as broken, Engine(Path(engine.address.removeprefix("unix:"))) as other:
        other.configure(1, "gated:v1.0.0")
        run_until_quick(other, 1)

        def run(_slots: SlotBatch, _execution: Execution) -> None:
            raise RuntimeError("can't start new thread")

        broken.setattr(SlotBatch, "run", run)
        other.send(request_execution(1, 1))
        other.wait(lambda: other.ended)
    assert engine.execute(request_execution(1, 1)).set_headers


def stopped() -> float:
    """A clock."""
    return 0.0


class Slow(SlotBatch):
    """Slots, a sink, and their worker, with a clock of their own: each execution takes the same time. Records what was
    sent when."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.ran = seconds, 0
        self.sent: list[int] = []
        self.submitted: list[Execution] = []
        self.worker = Worker(stopped)
        self.during: Callable[[], object] = lambda: None

    def run(self, _execution: Execution) -> None:
        self.ran += 1
        self.during()
        self.worker.ended = self.ran * self.seconds

    def submit(self, execution: Execution) -> None:
        self.submitted.append(execution)

    def release(self) -> None: ...

    def claim(self, _execution: Execution) -> bool:
        return True

    def deliver(self, _execution: Execution, _action: bytes | None) -> None: ...

    def flush(self) -> None:
        self.sent.append(self.ran)

    def abort(self) -> None: ...


def executions_of(sink: ResultSink, count: int) -> deque[Execution]:
    instance = Instance(PolicyMetadata("p", "v1.0.0", "orders", "v1.0"), {})
    instance.latency.is_quick = True
    return deque(Execution(request_execution(number), instance, 0.0, sink) for number in range(count))


def test_a_long_batch_sends_what_it_has_while_it_goes_on() -> None:
    slow = Slow(0.0003)
    executions = executions_of(slow, 100)
    InlineBatch(executions, slow, slow.worker).run(slow)
    assert slow.sent == [2, 8], "after 0.4 ms, and 1.6 ms later"
    assert (slow.ran, len(executions)) == (17, 83), "after 5 ms the rest is the workers'"


class Stalls(NoRunner):
    """A sink that records what it gets. `fails`: it cannot send."""

    def __init__(self) -> None:
        self.delivered, self.aborted, self.fails = list[int](), threading.Event(), False

    def flush(self) -> None:
        if self.fails:
            raise MemoryError

    def abort(self) -> None:
        self.aborted.set()

    def deliver(self, execution: Execution, _action: bytes | None) -> None:
        self.delivered.append(execution.id)


class Scene:
    """A runner, looks of ours in place of the watchdog's thread, and a clock that the test moves.

    Executions of a number in `gates` wait for their gate; each has an instance of its own, which is quick.
    """

    def __init__(self, count: int, stalling: int) -> None:
        self.clock, self.sink = Clock(), Stalls()
        self.dispatcher = Dispatcher(4, clock=self.clock)
        self.led: list[int] = []  # the terms of the threads that have read on
        self.runner = InlineRunner(self.dispatcher, self.led.append)
        self.entered = [threading.Event() for _ in range(stalling)]
        self.gates = [threading.Event() for _ in range(stalling)]
        self.executions = [
            Execution(request_execution(number), self._quick(), math.inf, self.sink) for number in range(count)
        ]
        self.dispatcher.pool.start()

    def _quick(self) -> Instance:
        instance = Instance(PolicyMetadata("p", "v1.0.0"), {})
        instance.make_ready({pb.PHASE_REQUEST: Hook("on_request", self._on_request)}, None, Concurrency(2, 2))
        instance.latency.is_quick = True
        return instance

    def _on_request(self, ctx: RequestContext, _params: object) -> None:
        number = int(ctx.request_id.removeprefix("request-"))
        if number < len(self.gates):
            self.entered[number].set()
            assert self.gates[number].wait(SECONDS)

    def start(self) -> threading.Thread:
        first = threading.Thread(target=self.runner.run, args=(deque(self.executions), self.sink), daemon=True)
        first.start()
        return first

    def stall(self, number: int) -> None:
        """Has the runner check until another thread leads in place of the one that runs this execution."""
        assert self.entered[number].wait(SECONDS)
        term = self.runner.term
        for _ in range(LOOKS):
            assert self.runner.term == term
            self.runner.check()
        assert eventually(lambda: self.runner.term == term + 1)

    def close(self) -> None:
        for gate in self.gates:
            gate.set()
        self.dispatcher.pool.stop()


@pytest.fixture
def make_scene() -> Iterator[Callable[[int, int], Scene]]:
    scenes = list[Scene]()

    def make(count: int, stalling: int) -> Scene:
        scenes.append(Scene(count, stalling))
        return scenes[-1]

    yield make
    for made in scenes:
        made.close()


def test_another_thread_does_what_is_left_and_reads_on_while_the_first_ends(
    make_scene: Callable[[int, int], Scene],
) -> None:
    scene = make_scene(3, 1)
    first = scene.start()
    scene.stall(0)
    assert [execution.instance.latency.is_quick for execution in scene.executions] == [False, True, True]
    assert eventually(lambda: scene.led == [1]), "another thread leads"
    assert sorted(scene.sink.delivered) == [1, 2]
    workers = scene.dispatcher.watchdog.workers
    assert [worker.execution.id for worker in workers if worker.execution] == [0]
    scene.gates[0].set()
    first.join(SECONDS)
    assert sorted(scene.sink.delivered) == [0, 1, 2]
    assert sum(worker.finished for worker in scene.dispatcher.watchdog.workers) == 3
    assert len(scene.dispatcher.watchdog.workers) == 2, "the runner's, and what is left of the first"


def test_one_thread_reads_on_however_many_stall_one_after_the_other(make_scene: Callable[[int, int], Scene]) -> None:
    scene = make_scene(6, 3)
    scene.start()
    for number in range(3):
        scene.stall(number)
    assert eventually(lambda: scene.led == [3])
    for gate in scene.gates:
        gate.set()
    assert eventually(lambda: sorted(scene.sink.delivered) == [*range(6)])
    assert eventually(lambda: sorted(scene.led) == [1, 2, 3]), "each got the term in which it was the leader"
    assert scene.runner.term == 3


def test_what_is_left_of_an_instance_that_stalled_is_the_workers(make_scene: Callable[[int, int], Scene]) -> None:
    scene = make_scene(4, 2)
    for execution in scene.executions[1:]:
        execution.instance = scene.executions[0].instance
    scene.start()
    scene.stall(0)
    assert eventually(lambda: scene.led == [1]), "nothing waits for the second one, which stalls too"
    scene.gates[0].set()
    scene.gates[1].set()
    assert eventually(lambda: sorted(scene.sink.delivered) == [0, 1, 2, 3])
    assert scene.runner.term == 1


@pytest.mark.parametrize("seconds", [0.0, BATCH_SECONDS])
def test_without_a_further_thread_the_one_that_stalled_leads_on(
    make_scene: Callable[[int, int], Scene], monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    monkeypatch.setattr(inline_runner, "replacement_needed", needed := ReplacementNeeded())
    scene = make_scene(3, 1)
    first = scene.start()
    assert scene.entered[0].wait(SECONDS)

    def start(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as broken:
        broken.setattr(CriticalThread, "start", start)
        for _ in range(LOOKS):
            scene.runner.check()
    assert needed.thread_failed
    scene.clock.move(seconds)
    scene.gates[0].set()
    first.join(SECONDS)
    by_the_leader = sum(worker.finished for worker in scene.dispatcher.watchdog.workers)
    assert by_the_leader == (1 if seconds else 3), "after its time a batch leaves the rest to the workers"
    assert eventually(lambda: sorted(scene.sink.delivered) == [0, 1, 2])
    assert (scene.runner.term, scene.led) == (0, [])


def test_a_leader_that_cannot_send_ends_the_stream_and_reads_on(make_scene: Callable[[int, int], Scene]) -> None:
    scene = make_scene(3, 1)
    scene.sink.fails = True
    scene.start()
    scene.stall(0)
    assert eventually(lambda: scene.led == [1])
    assert scene.sink.aborted.is_set()
    scene.sink.fails = False


def test_an_instance_that_only_had_no_core_is_quick_again() -> None:
    slow = Slow(0.0)
    executions = executions_of(slow, 2)
    latency = executions[0].instance.latency
    batch = InlineBatch(executions, slow, slow.worker)
    first = executions[0]

    def stall() -> None:
        latency.demote()
        batch.stalled = first

    slow.during = stall
    batch.run(slow)
    assert latency.is_quick
    assert len(executions) == 1, "the rest is the new leader's"


def test_executions_of_a_demoted_instance_go_to_the_workers_in_the_same_batch() -> None:
    slow = Slow(0.0)
    executions = executions_of(slow, 5)
    slow.during = executions[0].instance.latency.demote
    InlineBatch(executions, slow, slow.worker).run(slow)
    assert (slow.ran, [execution.id for execution in slow.submitted]) == (1, [1, 2, 3, 4])


def test_each_execution_goes_to_one_thread_however_many_drain() -> None:
    executions = executions_of(NoRunner(), 20_000)
    found: list[list[int]] = [[] for _ in range(4)]
    takers = [
        threading.Thread(target=lambda mine=mine: mine.extend(c.id for c in drained(executions))) for mine in found
    ]
    for taker in takers:
        taker.start()
    for taker in takers:
        taker.join(SECONDS)
    assert sorted(number for mine in found for number in mine) == [*range(20_000)]
    assert all(mine == sorted(mine) for mine in found)
