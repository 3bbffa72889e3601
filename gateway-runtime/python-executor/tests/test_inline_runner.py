"""Executions that the reader runs itself: nobody sees a difference, but for the time it takes."""

import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from gatewright.policy import PolicyMetadata
from gatewright_executor._gen import python_executor_pb2 as pb
from gatewright_executor.policies.policy_loader import Hook
from gatewright_executor.running.dispatch import Row
from gatewright_executor.running.inline_runner import Reader, Turn, Watch, taken
from gatewright_executor.running.instance import Call, Concurrency, Instance
from gatewright_executor.running.latency import QUICK_ONES, ROW
from gatewright_executor.running.worker import Worker
from gatewright_executor.running.worker_pool import Crew
from gatewright_executor.testing import Engine, request_execution
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st


class Nobody:
    def begin(self, _call: Call) -> bool:
        return True

    def end(self, _call: Call, _action: bytes | None) -> None: ...

    def flush(self) -> None: ...


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


def run_row(one: Engine, instance: int, first: int = 1000) -> None:
    """Lets an instance earn to be taken for a quick one."""
    for number in range(first, first + ROW):
        one.execute(request_execution(number, instance))


def thread_of(one: Engine, number: int, instance: int = 1) -> bytes:
    return one.execute(request_execution(number, instance)).set_headers.split(b"\0")[1]


def test_a_policy_runs_in_the_thread_that_reads_before_it_is_known_to_be_quick_and_after(
    engine: Callable[..., Engine],
) -> None:
    one = engine(gated=SAYS_WHERE)
    one.configure(1, "gated:v1.0.0")
    assert thread_of(one, 1) == b"connection"
    run_row(one, 1)
    assert thread_of(one, 2) == b"connection"
    assert one.health().executions_finished == ROW + 2


def test_executions_of_a_slow_policy_are_handed_to_workers() -> None:
    instance = Instance(PolicyMetadata("p", "v1.0.0", "orders", "v1.0"), {})
    instance.ready({pb.PHASE_REQUEST: Hook("on_request", lambda _ctx, _params: None)}, None, Concurrency(1, 1))
    assert instance.runs_where_read(pb.PHASE_REQUEST)
    assert not instance.runs_where_read(pb.PHASE_RESPONSE), "there is nothing to run"
    instance.pace.note(slow=True)
    assert not instance.runs_where_read(pb.PHASE_REQUEST)
    for _ in range(QUICK_ONES):
        instance.pace.note(slow=False)
    assert instance.runs_where_read(pb.PHASE_REQUEST)


@pytest.fixture
def blind(monkeypatch: pytest.MonkeyPatch) -> None:
    """The watch sees nothing: what goes on does so by the guard."""
    monkeypatch.setattr("gatewright_executor.running.inline_runner.LOOKS", 1 << 40)


@pytest.mark.usefixtures("blind")
def test_who_is_not_known_to_be_quick_has_a_guard_that_goes_on(engine: Callable[..., Engine]) -> None:
    one = engine(workers=2, gated=SAYS_WHERE)
    one.configure(1, "gated:v1.0.0", max_concurrency=2)
    one.configure(2, "gated:v1.0.0", max_concurrency=2)
    hangs = request_execution(1, 1, headers={"x-hang": "1"}, seconds=30)
    one.send(hangs, *(request_execution(number, 1 + number % 2) for number in range(2, 20)))
    for number in range(2, 20):
        assert one.action(number).set_headers, "what came behind it in its frame"
    assert thread_of(one, 20, 2).startswith(b"worker-"), "the guard reads on"
    assert one.health().workers_busy == 1
    one.send(request_execution(21, 1, headers={"x-hang": "1"}, seconds=30))
    assert one.execute(request_execution(22, 2)).set_headers, "with the last worker that is not held up"
    assert one.health().workers_busy == 2


def who_runs_executions() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith(("worker-", "connection"))}


@pytest.mark.usefixtures("blind")
def test_whoever_was_held_up_works_on_in_its_guards_place(engine: Callable[..., Engine]) -> None:
    others = who_runs_executions()
    one = engine(workers=1, gated=SAYS_WHERE.replace("wait(30)", "wait(0.002)"))
    one.configure(1, "gated:v1.0.0", max_concurrency=1)
    before = who_runs_executions() - others
    for number in range(1, 200):
        one.send(request_execution(number, 1, headers={"x-hang": "1"} if number % 10 == 0 else {}))
    for number in range(1, 200):
        assert one.action(number).set_headers
    assert who_runs_executions() - others == before
    assert one.health().executions_finished == 199


@given(
    hangs=st.lists(st.sampled_from([0.0, 0.0, 0.0, 0.0005, 0.003]), min_size=1, max_size=60), frame=st.integers(1, 20)
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_each_execution_is_answered_once_whoever_stands_still(
    engine: Callable[..., Engine], hangs: list[float], frame: int
) -> None:
    one = engine(naps=NAPS)
    one.configure(1, "naps:v1.0.0", max_concurrency=3)
    sent = [request_execution(n, 1, headers={"x-nap": str(nap)}) for n, nap in enumerate(hangs, start=1)]
    for first in range(0, len(sent), frame):
        one.send(*sent[first : first + frame])
    one.wait(lambda: len(one.actions) >= len(sent))
    one.wait(lambda: one.health().executions_finished == len(sent))
    assert sorted(action.id for action in one.actions) == [*range(1, len(sent) + 1)]
    one.half_close()
    one.wait(lambda: one.ended)


def test_one_that_stands_still_after_all_holds_nobody_up(engine: Callable[..., Engine]) -> None:
    one = engine(gated=SAYS_WHERE)
    one.configure(1, "gated:v1.0.0")
    one.configure(2, "gated:v1.0.0")
    run_row(one, 1)
    run_row(one, 2, first=2000)
    hangs = request_execution(1, 1, headers={"x-hang": "1"}, seconds=0.1)
    one.send(hangs, *(request_execution(number, 1 + number % 2) for number in range(2, 20)))
    for number in range(2, 20):
        assert one.action(number).set_headers, "what came behind it in its frame"
    assert thread_of(one, 20, 2) == b"connection", "another thread reads on"
    assert one.health().oldest_execution_policy == "gated:v1.0.0"
    assert one.health().executions_started - one.health().executions_finished == 1


def test_what_its_turn_has_done_is_counted_once_it_is_over(engine: Callable[..., Engine]) -> None:
    one = engine(gated=SAYS_WHERE.replace("wait(30)", "wait(0.05)"))
    one.configure(1, "gated:v1.0.0")
    for row in range(3):
        run_row(one, 1, first=1000 * (row + 1))
        one.execute(request_execution(1 + row, 1, headers={"x-hang": "1"}))
    one.wait(lambda: one.health().executions_finished == 3 * (ROW + 1))
    assert one.health().executions_started == 3 * (ROW + 1)


def test_a_turn_that_fails_ends_its_stream_and_no_other(
    engine: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = engine(gated=SAYS_WHERE)
    one.configure(1, "gated:v1.0.0")
    with monkeypatch.context() as broken, Engine(Path(one.address.removeprefix("unix:"))) as other:
        other.configure(1, "gated:v1.0.0")

        def run(_row: Row, _call: Call) -> None:
            raise RuntimeError("can't start new thread")

        broken.setattr(Row, "run", run)
        other.send(request_execution(1, 1))
        other.wait(lambda: other.ended)
    assert one.execute(request_execution(1, 1)).set_headers


@pytest.mark.parametrize(
    ("waited", "ran", "passed", "stands"),
    [
        (0.00003, 0.00002, 0, True),
        (0.00003, 0.00002, 1, False),
        (0.0012, 0.00002, 0, False),
        (0.0012, 0.002, 0, True),
        (0.0012, 0.002, 1, False),
    ],
    ids=["let the lock go", "another had it", "lost the lock", "computes for long", "waits for it for long"],
)
def test_a_guard_tells_who_stands_still_from_who_lost_the_lock(
    monkeypatch: pytest.MonkeyPatch, waited: float, ran: float, passed: int, stands: bool
) -> None:
    now = 1000.0
    monkeypatch.setattr("gatewright_executor.running.inline_runner.time", SimpleNamespace(monotonic=lambda: now))
    crew = Crew(1, lambda _call, _worker: None)
    reader = Reader(Watch(), crew, lambda _calls: None, lambda: None)
    turn = Turn(deque(), reader.worker)
    instance = Instance(PolicyMetadata("p", "v1.0.0", "orders", "v1.0"), {})
    reader.waits_from(now)
    assert not reader.stands_still(turn), "it runs nothing"
    turn.worker.call = Call(request_execution(1), instance, 0.0, Nobody())
    turn.worker.call.started = now + waited - ran
    crew.passed += passed
    now += waited
    assert reader.stands_still(turn) is stands


class Slow:
    """A row and its worker: each execution takes as long, by a clock of their own. What was sent when is noted."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.ran = seconds, 0
        self.sent: list[int] = []
        self.left: list[int] = []
        self.worker = Worker()

    def run(self, _call: Call) -> None:
        self.ran += 1
        self.worker.ended = self.ran * self.seconds

    def leave(self, call: Call) -> None:
        self.left.append(call.id)

    def begin(self, _call: Call) -> bool:
        return True

    def end(self, _call: Call | None = None, _action: bytes | None = None) -> None: ...

    def flush(self) -> None:
        self.sent.append(self.ran)


def test_a_long_turn_sends_what_it_has_while_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gatewright_executor.running.inline_runner.time", SimpleNamespace(monotonic=lambda: 0.0))
    instance, row = Instance(PolicyMetadata("p", "v1.0.0", "orders", "v1.0"), {}), Slow(0.0003)
    calls = deque(Call(request_execution(number), instance, 0.0, row) for number in range(100))
    Turn(calls, row.worker).run(row, lambda: True)
    assert row.sent == [2, 8], "after 0.4 ms, and 1.6 ms later"
    assert (row.ran, len(calls)) == (17, 83), "after 5 ms the rest is the workers'"


def test_without_a_guard_only_quick_ones_run() -> None:
    quick, unknown = (Instance(PolicyMetadata("p", "v1.0.0", "orders", "v1.0"), {}) for _ in range(2))
    for _ in range(ROW):
        quick.pace.note(slow=False)
    row = Slow(0.0)
    calls = deque(Call(request_execution(n), (quick, unknown)[n % 2], 0.0, row) for n in range(6))
    Turn(calls, row.worker).run(row, lambda: False)
    assert (row.ran, row.left) == (3, [1, 3, 5])


def test_each_call_is_taken_by_one_thread_however_many_take() -> None:
    instance = Instance(PolicyMetadata("p", "v1.0.0", "orders", "v1.0"), {})
    calls = deque(Call(request_execution(number), instance, 0.0, Nobody()) for number in range(20_000))
    found: list[list[int]] = [[] for _ in range(4)]
    takers = [threading.Thread(target=lambda mine=mine: mine.extend(c.id for c in taken(calls))) for mine in found]
    for taker in takers:
        taker.start()
    for taker in takers:
        taker.join(10)
    assert sorted(number for mine in found for number in mine) == [*range(20_000)]
    assert all(mine == sorted(mine) for mine in found)
