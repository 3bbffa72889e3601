from __future__ import annotations

import heapq
import random

import pytest
from gatewright.policy import PolicyMetadata
from gatewright_executor._gen import python_executor_pb2 as pb
from gatewright_executor.running.admission import RECOVERY_SECONDS, AdmissionQueue
from gatewright_executor.running.instance import Execution, Instance
from gatewright_executor.running.limits import LIMITS
from hypothesis import given
from hypothesis import strategies as st

SLOTS = 16
INSTANCE = Instance(PolicyMetadata("slow", "v1.0.0", "orders", "v1.0"), {})


class NoRunner:
    def flush(self) -> None:
        raise NotImplementedError

    def claim(self, _execution: Execution) -> bool:
        return True

    def deliver(self, _execution: Execution, _action: bytes | None) -> None: ...

    def abort(self) -> None: ...


def execution(number: int, deadline: float) -> Execution:
    return Execution(pb.Execution(id=number), INSTANCE, deadline, NoRunner())


class Load:
    """A policy that takes `service` seconds and has SLOTS slots; `rate` executions come in each second, evenly.

    jitter: the share of `service` by which an execution may take longer, and a request come later than it is due.
    stall: between these two times the machine does nothing; what would have happened then happens at its end.
    """

    def __init__(
        self,
        service: float,
        rate: float,
        timeout: float = 1.0,
        stall: tuple[float, float] = (0, 0),
        jitter: float = 0.0,
    ) -> None:
        self.random, self.jitter = random.Random(4711), jitter  # noqa: S311 — nothing secret
        self.queue: AdmissionQueue[Execution] = AdmissionQueue()
        self.service, self.rate, self.timeout, self.stall = service, rate, timeout, stall
        self.busy: list[float] = []  # when each slot that is taken comes free
        self.refused = 0
        self.waits: list[float] = []

    def run(self, seconds: float) -> Load:
        for number in range(int(seconds * self.rate)):
            due = (number + self.random.uniform(0, min(1.0, self.jitter * 10))) / self.rate
            now = self._woken(due)
            while self.busy and self.busy[0] <= now:
                self._free(heapq.heappop(self.busy))
            self._arrive(execution(number, now + self.timeout), now)
        return self

    def _woken(self, due: float) -> float:
        begin, end = self.stall
        return end if begin < due < end else due

    def _arrive(self, new: Execution, now: float) -> None:
        if len(self.busy) < SLOTS:
            self.queue.slot_taken(now)
            self._start(new, now)
        elif self.queue.offer(new, SLOTS, now) is not None:
            self.refused += 1

    def _free(self, now: float) -> None:
        self.queue.slot_freed(now)
        if (next_one := self.queue.pop(now)) is not None:
            self._start(next_one, now)

    def _start(self, taken: Execution, now: float) -> None:
        self.waits.append(now - (taken.deadline - self.timeout))
        heapq.heappush(self.busy, self._woken(now + self.service * self.random.uniform(1, 1 + self.jitter)))


def test_a_burst_waits_and_is_served() -> None:
    queue: AdmissionQueue[Execution] = AdmissionQueue()
    assert [queue.offer(execution(n, 1.0), SLOTS, 0.0) for n in range(200)] == [None] * 200
    taken = [queue.pop(0.001 * n) for n in range(201)]
    assert [execution.id for execution in taken if execution is not None] == list(range(200))


@pytest.mark.parametrize("slots", [16, 32, 200])
def test_the_first_freed_slot_is_no_rate_for_slots_taken_with_it(slots: int) -> None:
    """Slots that were taken together come free together: the first one after 50 ms is no rate of one in 50 ms."""
    queue: AdmissionQueue[Execution] = AdmissionQueue()
    assert [queue.offer(execution(n, 1.0), slots, 0.0) for n in range(slots)] == [None] * slots
    queue.slot_freed(0.05)
    assert queue.pop(0.05) is not None
    assert queue.offer(execution(slots, 1.051), slots, 0.051) is None


def test_what_is_less_than_the_policy_can_do_is_never_refused() -> None:
    assert Load(service=0.05, rate=300).run(5).refused == 0


@pytest.mark.parametrize("jitter", [0.0, 0.05, 0.1])
@pytest.mark.parametrize("service", [0.01, 0.05, 0.2, 0.5])
def test_a_standing_queue_is_kept_short(service: float, jitter: float) -> None:
    """Also where the executions that began together in the first burst end together from then on."""
    load = Load(service, rate=3 * SLOTS / service, jitter=jitter).run(20)
    late = sorted(load.waits[len(load.waits) // 5 :])  # the burst at its begin was let in
    assert late[int(0.99 * len(late))] < 0.13
    assert len(load.waits) > 0.95 * 20 * SLOTS / (service * (1 + jitter / 2)), "what the policy can do is done"
    assert load.refused > len(load.waits)


def test_what_overload_begins_with_waits_no_longer_than_a_burst_may() -> None:
    load = Load(service=0.2, rate=3 * SLOTS / 0.2).run(5)
    assert max(load.waits) < 0.3 + 0.2, "a burst, and the execution that shows how long they take"
    assert load.refused > len(load.waits)


def test_a_queue_of_an_instance_whose_slots_grow_is_no_overload() -> None:
    load = Load(service=0.5, rate=3 * SLOTS / 0.5, timeout=30)
    load.queue.slots_grow = True
    assert load.run(5).refused == 0


@pytest.mark.parametrize("seconds", [0.2, 0.3, 0.45])
def test_executions_that_a_stall_of_the_machine_delayed_are_served(seconds: float) -> None:
    load = Load(service=0.05, rate=200, stall=(2.0, 2.0 + seconds)).run(5)
    assert load.refused == 0
    assert max(load.waits) < seconds


@pytest.mark.parametrize("seconds", [0.35, 0.7, 1.5])
def test_a_stall_is_no_end_of_the_load(seconds: float) -> None:
    load = Load(service=0.2, rate=3 * SLOTS / 0.2, stall=(10.0, 10.0 + seconds)).run(20)
    late = [wait for wait in load.waits[len(load.waits) // 10 :] if wait > 0.21]
    assert len(late) <= SLOTS, "only those that waited already when it began"


def test_a_policy_whose_slots_all_hang_is_reported_as_full() -> None:
    queue: AdmissionQueue[Execution] = AdmissionQueue()
    assert queue.offer(execution(1, 1.0), SLOTS, 0.0) is None
    refusal = queue.offer(execution(2, 2.5), SLOTS, 1.5)
    assert refusal is not None
    assert "no slot would be free" in refusal


def test_a_while_after_the_load_a_burst_may_wait_again() -> None:
    queue, now = Load(service=0.05, rate=960).run(3).queue, 3.0
    while queue.pop(now):
        now += 0.003
    later = now + RECOVERY_SECONDS
    assert [queue.offer(execution(n, later + 1), SLOTS, later) for n in range(100)] == [None] * 100


def test_before_an_instance_is_ready_only_the_number_counts() -> None:
    queue: AdmissionQueue[Execution] = AdmissionQueue()
    most = LIMITS.max_waiting
    assert [queue.offer(execution(n, 100.0), 0, float(n % 50)) for n in range(most)] == [None] * most
    assert "expected at most" in str(queue.offer(execution(most, 100.0), 0, 50.0))


@given(st.lists(st.sampled_from(["offer", "take", "forget"]), max_size=200), st.data())
def test_each_waiting_execution_is_taken_once_in_order_or_removed(steps: list[str], data: st.DataObject) -> None:
    queue: AdmissionQueue[Execution] = AdmissionQueue()
    model, now = list[Execution](), 0.0
    for number, step in enumerate(steps):
        now += data.draw(st.floats(0, 0.3))
        if step == "offer":
            new = execution(number, now + 1)
            if queue.offer(new, SLOTS, now) is None:
                model.append(new)
        elif step == "take":
            assert queue.pop(now) is (model.pop(0) if model else None)
        elif model:
            queue.remove(model.pop(data.draw(st.integers(0, len(model) - 1))))
        assert len(queue) == len(model)
    assert queue.pop_all() == model
