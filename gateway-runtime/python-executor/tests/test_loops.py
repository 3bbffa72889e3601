"""Which event loop runs the coroutines of an instance, and the counts of loops that have ended."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from gatewright.policy import PolicyMetadata
from gatewright_executor._gen import python_executor_pb2 as pb
from gatewright_executor.policies.policy_loader import Hook
from gatewright_executor.running.instance import Concurrency, Execution, Instance
from gatewright_executor.running.loop_watchdog import Block
from gatewright_executor.running.loops import Loops


async def on_request(_ctx: object, _params: object) -> None: ...


def instance_of(is_coroutine: bool = True) -> Instance:
    instance = Instance(PolicyMetadata("p", "v1.0.0", "orders"), {})
    instance.make_ready({pb.PHASE_REQUEST: Hook("on_request", on_request, is_coroutine)}, None, Concurrency(1, 1))
    return instance


@pytest.fixture
def loops() -> Iterator[Loops]:
    dispatched: list[Execution] = []
    loops = Loops(dispatched.append)
    yield loops
    loops.stop(10)


def test_instances_share_a_loop_but_those_that_have_their_own(loops: Loops) -> None:
    shared, own = instance_of(), instance_of()
    loops.give_own(own)
    assert loops.of(shared) is loops.shared
    assert loops.of(own) is not loops.shared
    assert loops.all() == [loops.shared, loops.of(own)]


def test_what_loops_did_that_are_gone_is_counted(loops: Loops) -> None:
    own = instance_of()
    loops.give_own(own)
    loops.shared.counts.started, loops.shared.counts.finished = 5, 4
    loops.of(own).counts.started, loops.of(own).counts.finished = 3, 2
    assert loops.counts() == (8, 6)
    for _ in range(2):
        loops.end_own(own)
        assert loops.counts() == (8, 6)
    assert loops.all() == [loops.shared]


def test_a_loop_of_its_own_ends_with_its_instance(loops: Loops) -> None:
    own = instance_of()
    loops.give_own(own)
    assert loops.of(own).loop.is_running() or loops.of(own).thread_id
    thread = loops.of(own).thread_id
    threads = [found for found in threading.enumerate() if found.ident == thread]
    loops.end_own(own)
    threads[0].join(10)
    assert not threads[0].is_alive()


def test_a_loop_that_has_ended_already_can_be_stopped_again(loops: Loops) -> None:
    """As where its instance is closed while the process stops."""
    own = instance_of()
    loops.give_own(own)
    assert not loops.of(own).loop.is_closed()
    loops.of(own).stop(10)
    assert loops.of(own).loop.is_closed()
    loops.stop(10)


def test_tasks_end_with_their_loop_at_the_latest(loops: Loops) -> None:
    """A task that takes its time when it is cancelled, and a loop that is stopped before it has ended."""
    instance, begun, cancelled, tasks = instance_of(), threading.Event(), threading.Event(), list[asyncio.Task[None]]()
    loop = loops.shared.loop

    async def linger() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
            await asyncio.Event().wait()

    def start() -> None:
        tasks.append(loop.create_task(linger()))
        instance.tasks.update(tasks)

    loop.call_soon_threadsafe(start)
    assert begun.wait(10)
    with ThreadPoolExecutor() as threads:
        ended = threads.submit(loops.shared.end_tasks, instance, 60)
        assert cancelled.wait(10)
        loops.stop(10)
        assert ended.result(10)


def test_only_policies_that_share_the_loop_delay_each_other(loops: Loops) -> None:
    culprit, victim, own, no_coroutine = instance_of(), instance_of(), instance_of(), instance_of(is_coroutine=False)
    loops.give_own(own)
    loops.watchdog._blocks.append(Block(culprit, 10.0, 10.5))
    assert loops.blocked(victim, 10.25, 11.0) == f"{culprit.title} blocked the event loop for 0.25 s of it"
    assert loops.blocked(victim, 10.5, 11.0) == "", "it was over"
    assert loops.blocked(culprit, 10.0, 11.0) == "", "a policy does not delay itself"
    assert loops.blocked(own, 10.0, 11.0) == ""
    assert loops.blocked(no_coroutine, 10.0, 11.0) == ""
