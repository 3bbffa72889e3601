"""What workers have finished is sent together, and waits for no execution. No gRPC, real threads."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from gatewright.policy import PolicyMetadata, RequestContext
from gatewright_executor._gen import python_executor_pb2 as pb
from gatewright_executor.policies.policy_loader import Hook
from gatewright_executor.running.dispatch import Dispatcher
from gatewright_executor.running.instance import Call, Concurrency, Instance
from gatewright_executor.running.worker import Worker
from gatewright_executor.testing import come_true, request_execution
from hypothesis import given, settings
from hypothesis import strategies as st

SECONDS = 30.0  # that anything waits here: longer than come_true does
MANY = 1000


class Caller:
    """Sends what has ended when it is told to, as a stream does."""

    def __init__(self) -> None:
        self.ended: list[int] = []
        self.sent: set[int] = set()
        self.flushes = 0

    def begin(self, _call: Call) -> bool:
        return True

    def end(self, call: Call, _action: bytes | None) -> None:
        self.ended.append(call.id)

    def flush(self) -> None:
        self.flushes += 1
        self.sent |= set(self.ended)


class Gate:
    """A policy whose executions wait, as their request says, until it is open."""

    def __init__(self, waits: list[bool]) -> None:
        self._waits = waits
        self._open = threading.Event()

    def on_request(self, ctx: RequestContext, _params: object) -> None:
        if self._waits[int(ctx.request_id.removeprefix("request-"))]:
            self._open.wait(SECONDS)

    def open(self) -> None:
        self._open.set()


@contextmanager
def working(workers: int) -> Iterator[Dispatcher]:
    dispatcher = Dispatcher(workers)
    dispatcher.start()
    yield dispatcher
    dispatcher.stop()


def instance_of(gate: Gate, limit: int) -> Instance:
    instance = Instance(PolicyMetadata("gate", "v1"), {})
    instance.ready({pb.PHASE_REQUEST: Hook("on_request", gate.on_request)}, None, Concurrency(limit, limit))
    return instance


def call_of(number: int, instance: Instance, caller: Caller) -> Call:
    return Call(request_execution(number), instance, time.monotonic() + SECONDS, caller)


def submit(dispatcher: Dispatcher, gate: Gate, callers: list[Caller], count: int, limit: int = MANY) -> None:
    instance = instance_of(gate, limit)
    for number in range(count):
        dispatcher.submit(call_of(number, instance, callers[number % len(callers)]))


def finishable(waits: list[bool], threads: int) -> set[int]:
    """Those that end although the others wait: they are begun in order, and each that waits holds a thread."""
    found, free = set[int](), threads
    for number, waiting in enumerate(waits):
        if not free:
            break
        free -= waiting
        if not waiting:
            found.add(number)
    return found


@settings(max_examples=80, deadline=None)
@given(
    waits=st.lists(st.booleans(), min_size=1, max_size=12),
    workers=st.integers(1, 4),
    limit=st.integers(1, 4),
    streams=st.integers(1, 2),
)
def test_no_answer_waits_for_an_execution(waits: list[bool], workers: int, limit: int, streams: int) -> None:
    gate, callers = Gate(waits), [Caller() for _ in range(streams)]
    limit = min(limit, workers)  # as for any instance
    expected = finishable(waits, limit)
    with working(workers) as dispatcher:
        submit(dispatcher, gate, callers, len(waits), limit)
        assert come_true(lambda: {n for caller in callers for n in caller.ended} == expected)
        assert come_true(lambda: {n for caller in callers for n in caller.sent} == expected), "ended, and not sent"
        gate.open()
        assert come_true(lambda: sum(len(caller.sent) for caller in callers) == len(waits))


def test_what_a_worker_finishes_in_a_row_is_sent_together() -> None:
    gate, caller = Gate([True] + MANY * [False]), Caller()
    with working(2) as dispatcher:
        submit(dispatcher, gate, [caller], 1 + MANY)
        assert come_true(lambda: len(caller.sent) == MANY)
        assert caller.flushes < MANY / 4
        gate.open()


def test_who_goes_on_with_its_slot_lets_others_run() -> None:
    backlog, others = Caller(), Caller()
    with working(1) as dispatcher:
        for instance in (Instance(PolicyMetadata("naps", "v1"), {}), Instance(PolicyMetadata("naps", "v1"), {})):
            instance.ready(
                {pb.PHASE_REQUEST: Hook("on_request", lambda _ctx, _params: time.sleep(0.0002))},
                None,
                Concurrency(1, 1),
            )
            for number in range(MANY):
                dispatcher.submit(call_of(number, instance, backlog))
        submit(dispatcher, Gate([False]), [others], 1)
        assert come_true(lambda: bool(others.sent))
        assert len(backlog.ended) < MANY
        assert come_true(lambda: len(backlog.sent) == MANY)


def test_a_row_holds_one_slot_for_as_long_as_its_executions_are_of_one_instance() -> None:
    gate, caller = Gate([False] * 6), Caller()
    first, second = instance_of(gate, 1), instance_of(gate, 1)
    with working(1) as dispatcher:
        row = dispatcher.row(Worker())
        row.run(call_of(0, first, caller))
        row.run(call_of(1, first, caller))
        dispatcher.submit(call_of(2, first, caller))
        assert caller.ended == [0, 1], "the row has the only slot"
        row.run(call_of(3, second, caller))
        assert come_true(lambda: sorted(caller.ended) == [0, 1, 2, 3])
        row.end()
        dispatcher.submit(call_of(4, first, caller))
        dispatcher.submit(call_of(5, second, caller))
        assert come_true(lambda: sorted(caller.ended) == [0, 1, 2, 3, 4, 5]), "a slot was not given back"
