"""What workers have finished is sent together, and waits for no execution. No gRPC, real threads."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from gatewright.policy import PolicyMetadata, RequestContext
from gatewright_executor._gen import python_executor_pb2 as pb
from gatewright_executor.policies.policy_loader import Hook
from gatewright_executor.running.dispatch import Dispatcher, SlotBatch
from gatewright_executor.running.instance import Concurrency, Execution, Instance
from gatewright_executor.running.worker import Worker
from gatewright_executor.testing import eventually, request_execution
from hypothesis import given, settings
from hypothesis import strategies as st

SECONDS = 60.0  # that anything waits here: longer than eventually does
MANY = 1000


class Sink:
    """Records ended executions, and which of them a flush has sent, as a stream does."""

    def __init__(self) -> None:
        self.ended: list[int] = []
        self.sent: set[int] = set()
        self.flushes = 0

    def claim(self, _execution: Execution) -> bool:
        return True

    def deliver(self, execution: Execution, _action: bytes | None) -> None:
        self.ended.append(execution.id)

    def flush(self) -> None:
        self.flushes += 1
        self.sent |= set(self.ended)

    def abort(self) -> None: ...


class Gate:
    """A policy whose executions wait, if their request asks for it, until it is open."""

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
    instance.make_ready({pb.PHASE_REQUEST: Hook("on_request", gate.on_request)}, None, Concurrency(limit, limit))
    return instance


def execution_of(number: int, instance: Instance, sink: Sink) -> Execution:
    return Execution(request_execution(number), instance, time.monotonic() + SECONDS, sink)


def submit(dispatcher: Dispatcher, gate: Gate, sinks: list[Sink], count: int, limit: int = MANY) -> set[int]:
    """The executions that were refused: on a busy machine, those in between may have waited for long."""
    instance = instance_of(gate, limit)
    executions = [execution_of(number, instance, sinks[number % len(sinks)]) for number in range(count)]
    for execution in executions:
        dispatcher.submit(execution)
    for sink in sinks:
        sink.flush()  # as a stream does once it has read all that came
    return {execution.id for execution in executions if execution.refusal}


def finishable(waits: list[bool], threads: int, refused: set[int]) -> set[int]:
    """The executions that end although the others wait: they start in order, and each that waits occupies a thread."""
    found, free = set(refused), threads
    for number, waiting in enumerate(waits):
        if number in refused:
            continue
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
    gate, sinks = Gate(waits), [Sink() for _ in range(streams)]
    limit = min(limit, workers)  # as for any instance
    with working(workers) as dispatcher:
        expected = finishable(waits, limit, submit(dispatcher, gate, sinks, len(waits), limit))
        assert eventually(lambda: {n for sink in sinks for n in sink.ended} == expected)
        assert eventually(lambda: {n for sink in sinks for n in sink.sent} == expected), "ended, and not sent"
        gate.open()
        assert eventually(lambda: sum(len(sink.sent) for sink in sinks) == len(waits))


def test_what_a_worker_finishes_in_a_row_is_sent_together() -> None:
    held, gate, sink, other = Gate([True] * 3), Gate(MANY * [False]), Sink(), Sink()
    with working(2) as dispatcher:
        submit(dispatcher, held, [other], 3)  # all threads
        submit(dispatcher, gate, [sink], MANY)
        held.open()
        assert eventually(lambda: len(sink.sent) == MANY)
        assert sink.flushes < MANY / 4


def test_an_execution_that_keeps_its_slot_lets_others_run() -> None:
    backlog, held, before = Sink(), Gate([True]), list[int]()
    all_submitted = threading.Event()

    def nap(_ctx: RequestContext, _params: object) -> None:
        all_submitted.wait(SECONDS)
        time.sleep(0.0002)

    def note(_ctx: RequestContext, _params: object) -> None:
        before.append(len(backlog.ended))

    with working(1) as dispatcher:
        submit(dispatcher, held, [Sink()], 1)
        assert eventually(lambda: dispatcher.progress().busy == 1), "one of two threads is left"
        for function, count in ((nap, MANY), (nap, MANY), (note, 1)):
            instance = Instance(PolicyMetadata("naps", "v1"), {})
            instance.make_ready({pb.PHASE_REQUEST: Hook("on_request", function)}, None, Concurrency(1, 1))
            for number in range(count):
                dispatcher.submit(execution_of(number, instance, backlog))
        all_submitted.set()
        assert eventually(lambda: len(before) == 1)
        assert before[0] < MANY, "each of the two others had one round"
        held.open()
        assert eventually(lambda: len(backlog.sent) == MANY)


def test_a_batch_holds_one_slot_for_as_long_as_its_executions_are_of_one_instance() -> None:
    gate, sink = Gate([False] * 6), Sink()
    first, second = instance_of(gate, 1), instance_of(gate, 1)
    with working(1) as dispatcher:
        batch = SlotBatch(dispatcher, Worker())
        batch.run(execution_of(0, first, sink))
        batch.run(execution_of(1, first, sink))
        dispatcher.submit(execution_of(2, first, sink))
        assert sink.ended == [0, 1], "the batch has the only slot"
        batch.run(execution_of(3, second, sink))
        assert eventually(lambda: sorted(sink.ended) == [0, 1, 2, 3])
        batch.release()
        dispatcher.submit(execution_of(4, first, sink))
        dispatcher.submit(execution_of(5, second, sink))
        assert eventually(lambda: sorted(sink.ended) == [0, 1, 2, 3, 4, 5]), "a slot was not given back"
