"""Executions that the reader runs itself: nobody sees a difference, but for the time it takes."""

import threading
from collections import deque
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from gatewright_executor.instance import Call, Instance
from gatewright_executor.pace import ROW
from gatewright_executor.testing import Engine, request_execution
from gatewright_executor.turn import Turn, taken
from gatewright_executor.worker import Worker
from sdk.policy import PolicyMetadata


class Nobody:
    def begin(self, _call: Call) -> bool:
        return True

    def end(self, _call: Call, _action: bytes | None) -> None: ...

    def flush(self) -> None: ...


SAYS_WHERE = """
    import threading
    from sdk.policy import UpstreamRequestModifications

    gate = threading.Event()

    def on_request(ctx, params):
        if ctx.headers.get("x-hang"):
            gate.wait(30)
        return UpstreamRequestModifications(set_headers={"x-thread": threading.current_thread().name})
"""


def run_row(one: Engine, instance: int, first: int = 1000) -> None:
    """Lets an instance earn to be taken for a quick one."""
    for number in range(first, first + ROW):
        one.execute(request_execution(number, instance))


def thread_of(one: Engine, number: int, instance: int = 1) -> bytes:
    return one.execute(request_execution(number, instance)).set_headers.split(b"\0")[1]


def test_a_quick_policy_runs_in_the_thread_that_reads(engine: Callable[..., Engine]) -> None:
    one = engine(gated=SAYS_WHERE)
    one.configure(1, "gated:v1.0.0")
    assert thread_of(one, 1).startswith(b"worker-")
    run_row(one, 1)
    assert thread_of(one, 2) == b"connection"
    assert one.health().executions_finished == ROW + 2


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
    assert thread_of(one, 20, 2) == b"connection", "the other instance is as quick as before"
    assert thread_of(one, 21, 1).startswith(b"worker-"), "this one is not"
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


class Slow:
    """A row and its worker: each execution takes as long, by a clock of their own. What was sent when is noted."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.ran = seconds, 0
        self.sent: list[int] = []
        self.worker = Worker()

    def run(self, _call: Call) -> None:
        self.ran += 1
        self.worker.ended = self.ran * self.seconds

    def begin(self, _call: Call) -> bool:
        return True

    def end(self, _call: Call | None = None, _action: bytes | None = None) -> None: ...

    def flush(self) -> None:
        self.sent.append(self.ran)


def test_a_long_turn_sends_what_it_has_while_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gatewright_executor.turn.time", SimpleNamespace(monotonic=lambda: 0.0))
    instance, row = Instance(PolicyMetadata("p", "v1.0.0", "orders", "v1.0"), {}), Slow(0.0003)
    calls = deque(Call(request_execution(number), instance, 0.0, row) for number in range(100))
    Turn(calls, row.worker).run(row)
    assert row.sent == [2, 8], "after 0.4 ms, and 1.6 ms later"
    assert (row.ran, len(calls)) == (17, 83), "after 5 ms the rest is the workers'"


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
