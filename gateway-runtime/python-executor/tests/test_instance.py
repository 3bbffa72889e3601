"""An instance's slots, its queue, and its end."""

import time
from collections.abc import Callable

import pytest
from gatewright.policy import FailureClass, PolicyMetadata
from gatewright_executor._gen import python_executor_pb2 as pb
from gatewright_executor.policies.failure import Failure
from gatewright_executor.policies.policy_loader import Hook
from gatewright_executor.running.instance import Admission, Concurrency, Execution, Instance
from gatewright_executor.testing import request_execution
from hypothesis import given
from hypothesis import strategies as st

HOOKS: dict[int, Hook] = {pb.PHASE_REQUEST: Hook("on_request", lambda _ctx, _params: None)}


class NoRunner:
    def claim(self, _execution: Execution) -> bool:
        return True

    def deliver(self, _execution: Execution, _action: bytes | None) -> None: ...

    def flush(self) -> None: ...

    def abort(self) -> None: ...


def unprepared() -> Instance:
    return Instance(PolicyMetadata("p", "v1.0.0", "orders", "v1.0", {}, "GET /a"), {"list": [1]})


def ready(slots: int) -> Instance:
    instance = unprepared()
    assert instance.make_ready(HOOKS, None, Concurrency(slots, slots)) == []
    return instance


def execution_of(number: int, instance: Instance) -> Execution:
    return Execution(request_execution(number), instance, time.monotonic() + 30, NoRunner())


def admit(instance: Instance, numbers: range) -> list[Admission]:
    return [instance.admit(execution_of(number, instance)) for number in numbers]


def test_what_comes_before_it_is_ready_waits_and_gets_the_slots_in_order() -> None:
    instance = unprepared()
    assert admit(instance, range(3)) == [Admission.WAIT] * 3
    first = instance.make_ready(HOOKS, "made", Concurrency(2, 2))
    assert [execution.id for execution in first] == [0, 1]
    assert instance.prepared == "made"
    following = instance.release(first[0])
    assert following is not None
    assert following.id == 2
    assert instance.release(following) is None


def test_what_cannot_be_prepared_runs_nothing_ever() -> None:
    instance = unprepared()
    admit(instance, range(2))
    waited = instance.fail(Failure(FailureClass.EXCEPTION, "no"))
    assert [execution.id for execution in waited] == [0, 1]
    assert admit(instance, range(1)) == [Admission.FAILED]


def test_an_execution_that_waits_can_be_taken_out() -> None:
    instance = ready(1)
    executions = [execution_of(number, instance) for number in range(3)]
    assert [instance.admit(execution) for execution in executions] == [Admission.RUN, Admission.WAIT, Admission.WAIT]
    instance.remove_waiting(executions[1])
    assert instance.release(executions[0]) is executions[2]


@given(running=st.integers(0, 4), waiting=st.integers(0, 4), retire_first=st.booleans())
def test_it_is_closed_once_after_its_last_execution(running: int, waiting: int, retire_first: bool) -> None:
    slots, closed = max(running, 1), list[str]()
    instance = ready(slots)
    waiting = waiting if running == slots else 0
    assert admit(instance, range(running + waiting)) == [Admission.RUN] * running + [Admission.WAIT] * waiting

    def retire() -> bool:
        return instance.retire(lambda: closed.append("closed"))

    if retire_first:
        assert retire() is (not running)
    for left in range(running + waiting, 0, -1):
        assert closed == [], f"{left} are under way"
        instance.release(execution_of(0, instance))
    if not retire_first:
        assert closed == []
        assert retire()
    assert closed == ["closed"]
    assert retire(), "again: nothing happens"
    instance.close_now()
    assert closed == ["closed"]


def failing(instance: Instance) -> None:
    instance.fail(Failure(FailureClass.EXCEPTION, "no"))


def succeeding(instance: Instance) -> None:
    instance.make_ready(HOOKS, None, Concurrency(1, 1))


@pytest.mark.parametrize("settle", [failing, succeeding])
def test_an_instance_that_is_retired_while_it_is_prepared_is_closed_then(settle: Callable[[Instance], object]) -> None:
    instance, closed = unprepared(), list[str]()
    assert not instance.retire(lambda: closed.append("closed"))
    assert closed == []
    settle(instance)
    assert closed == ["closed"]


def test_an_instance_can_be_closed_before_its_last_execution_ends() -> None:
    instance, closed = ready(1), list[str]()
    admit(instance, range(1))
    assert not instance.retire(lambda: closed.append("closed"))
    instance.close_now()
    assert closed == ["closed"]
    assert instance.release(execution_of(0, instance)) is None
    assert closed == ["closed"]


def test_parameters_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        unprepared().params["list"] = 1
    with pytest.raises((TypeError, AttributeError)):
        unprepared().params["list"].append(2)


def test_its_title_names_policy_api_and_operation() -> None:
    assert unprepared().title == "policy p:v1.0.0 of API orders, GET /a"
    assert Instance(PolicyMetadata("p", "v1.0.0"), {}).title == "policy p:v1.0.0"
