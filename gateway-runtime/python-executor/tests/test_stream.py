"""Any order of frames: each execution that was not cancelled is answered exactly once, and what was prepared is closed
once, after its last execution. No gRPC, real threads."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from typing import ClassVar, TypeAlias

import pytest
from gatewright.policy import RequestContext
from gatewright_executor._gen import python_executor_pb2 as pb
from gatewright_executor.grpc.protocol import Status
from gatewright_executor.policies.policy_loader import Hook, LoadedPolicy
from gatewright_executor.running import latency
from gatewright_executor.running.dispatch import Dispatcher
from gatewright_executor.running.inline_runner import InlineRunner
from gatewright_executor.running.instance import Instance
from gatewright_executor.running.loops import Loops
from gatewright_executor.running.prepare import Preparer
from gatewright_executor.session.instances import Process
from gatewright_executor.session.stream import Stream
from gatewright_executor.testing import configuration, eventually, request_execution
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

WORKERS = 3


def quick(_ctx: RequestContext, _params: object) -> None:
    pass


def slow(_ctx: RequestContext, _params: object) -> None:
    threading.Event().wait(0.001)


def raising(_ctx: RequestContext, _params: object) -> None:
    raise SystemExit


def seldom(ctx: RequestContext, _params: object) -> None:
    """Quick for long enough to count as quick."""
    if ctx.request_id.endswith("9"):
        threading.Event().wait(0.02)


async def waiting(_ctx: RequestContext, _params: object) -> None:
    import asyncio

    await asyncio.sleep(0.001)


async def inline(_ctx: RequestContext, _params: object) -> None:
    pass


def prepared(_params: object) -> None:
    threading.Event().wait(0.001)


def unprepared(_params: object) -> None:
    raise ValueError


class Made:
    """The prepared value of a prepare that yields."""

    all: ClassVar[list[Made]] = []
    used_when_closed = 0

    def __init__(self) -> None:
        self.closed = 0


def lives(_params: object) -> Iterator[Made]:
    made = Made()
    Made.all.append(made)
    yield made
    made.closed += 1


async def lives_on_loop(_params: object) -> AsyncIterator[Made]:
    for made in lives(_params):
        yield made


def uses(ctx: RequestContext, _params: object) -> None:
    threading.Event().wait(0.003)
    Made.used_when_closed += ctx.prepared.closed


async def uses_on_loop(ctx: RequestContext, _params: object) -> None:
    import asyncio

    await asyncio.sleep(0.003)
    Made.used_when_closed += ctx.prepared.closed


POLICIES = [
    LoadedPolicy("quick", "v1", Hook("on_request", quick)),
    LoadedPolicy("slow", "v1", Hook("on_request", slow)),
    LoadedPolicy("seldom", "v1", Hook("on_request", seldom)),
    LoadedPolicy("raising", "v1", Hook("on_request", raising)),
    LoadedPolicy("waiting", "v1", Hook("on_request", waiting, is_coroutine=True)),
    LoadedPolicy("inline", "v1", Hook("on_request", inline, is_coroutine=True)),
    LoadedPolicy("prepared", "v1", Hook("on_request", quick), prepare=Hook("prepare", prepared)),
    LoadedPolicy("lives", "v1", Hook("on_request", uses), prepare=Hook("prepare", lives)),
    LoadedPolicy(
        "lives-on-loop",
        "v1",
        Hook("on_request", uses_on_loop, is_coroutine=True),
        prepare=Hook("prepare", lives_on_loop, is_coroutine=True),
    ),
    LoadedPolicy("unprepared", "v1", Hook("on_request", quick), prepare=Hook("prepare", unprepared)),
]


@pytest.fixture(scope="module")
def process() -> Iterator[Process]:
    dispatcher = Dispatcher(WORKERS)
    dispatcher.start()
    policies = {policy.key: policy for policy in POLICIES}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(latency, "RUN", 3)
        yield Process(policies, dispatcher, Preparer(dispatcher.loops), pb.Hello(workers=WORKERS))
    dispatcher.stop()


Step: TypeAlias = Callable[["Script"], None]


class Script:
    """What an engine does, one frame at a time, and which executions it has sent and cancelled."""

    def __init__(self) -> None:
        self.frames: list[pb.RequestFrame] = []
        self.sent: list[int] = []
        self.cancelled: set[int] = set()
        self.configured = 0

    def configure(self, instance: int, policy: str, limit: int) -> None:
        self.configured += 1
        self.frames.append(pb.RequestFrame(configure=[configuration(instance, f"{policy}:v1", max_concurrency=limit)]))

    def execute(self, instance: int, count: int, late: bool) -> None:
        numbers = range(len(self.sent), len(self.sent) + count)
        self.sent += numbers
        seconds = 0.0005 if late else 30
        self.frames.append(
            pb.RequestFrame(executions=[request_execution(n, instance, seconds=seconds) for n in numbers])
        )

    def cancel(self, back: int) -> None:
        number = len(self.sent) - 1 - back
        self.cancelled.add(number)
        self.frames.append(pb.RequestFrame(cancel=[max(0, number)]))
        self.cancelled.add(max(0, number))

    def close(self, instance: int) -> None:
        self.frames.append(pb.RequestFrame(close=[instance]))


LIVING = [policy for policy in POLICIES if policy.name.startswith("lives")]
INSTANCES = st.integers(1, 3)
STEPS = st.one_of(
    st.builds(
        lambda instance, policy, limit: lambda script: script.configure(instance, policy.name, limit),
        INSTANCES, st.sampled_from(POLICIES) | st.sampled_from(LIVING), st.integers(0, 3),
    ),
    st.builds(
        lambda instance, count, late: lambda script: script.execute(instance, count, late),
        INSTANCES, st.integers(1, 20), st.booleans(),
    ),
    st.builds(lambda back: lambda script: script.cancel(back), st.integers(0, 30)),
    st.builds(lambda instance: lambda script: script.close(instance), INSTANCES),
)  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEPS, min_size=1, max_size=25))
def test_each_execution_is_answered_exactly_once(process: Process, steps: list[Step]) -> None:
    script = Script()
    for step in steps:
        step(script)
    replies = converse(process, script.frames, script.configured)
    answers = Counter(action.id for reply in replies for action in reply.actions)
    assert set(answers.values()) <= {1}
    assert answers.keys() <= set(script.sent)
    assert set(script.sent) - script.cancelled <= answers.keys()
    assert [reply.frames_acknowledged for reply in replies if reply.frames_acknowledged][-1:] == [len(script.frames)]
    assert sum(len(reply.instances) for reply in replies) == script.configured
    assert eventually(lambda: all(made.closed == 1 for made in Made.all))
    assert not Made.used_when_closed
    Made.all.clear()


class Engine:
    """The other end of the stream: sends frames as a connection does, from another thread once one has stalled."""

    def __init__(self, process: Process, frames: list[pb.RequestFrame], configured: int) -> None:
        self.replies: list[pb.ReplyFrame] = []
        self.settled, self.sent, self.finished = threading.Event(), threading.Event(), threading.Event()
        self._configured = configured
        self._frames = iter(frames)
        self._runner = InlineRunner(process.dispatcher, self._read)
        self.stream = Stream(process, self, self._runner)

    def start(self) -> None:
        threading.Thread(target=self._read, args=(0,), daemon=True).start()

    def _read(self, term: int) -> None:
        for frame in self._frames:
            self.stream.receive(frame)
            if self._runner.term != term:
                return
        self.sent.set()

    def send(self, message: bytes) -> None:
        self.replies.append(pb.ReplyFrame.FromString(message))
        if sum(len(reply.instances) for reply in self.replies) == self._configured:
            self.settled.set()

    def finish(self, _status: Status = Status.OK, _why: str = "") -> None:
        assert not self.finished.is_set()
        self.finished.set()


def converse(process: Process, frames: list[pb.RequestFrame], configured: int) -> list[pb.ReplyFrame]:
    """Sends all frames, then drains; statuses of preparations count as answers to wait for."""
    engine = Engine(process, frames, configured)
    engine.start()
    assert engine.sent.wait(20)
    assert not configured or engine.settled.wait(20)
    engine.stream.drain()
    assert engine.finished.wait(20)
    return engine.replies


class NotedPreparer(Preparer):
    """Records which instances it was asked to retire."""

    def __init__(self, loops: Loops) -> None:
        super().__init__(loops)
        self.retired: list[Instance] = []

    def retire(self, instance: Instance) -> None:
        self.retired.append(instance)
        super().retire(instance)


def test_what_was_accepted_before_its_instance_was_replaced_runs_before_that_one_is_closed() -> None:
    """An instance gets its own loop while one of its executions is accepted and has not started."""
    dispatcher = Dispatcher(WORKERS)
    dispatcher.pool.start()  # and no watchdog: no other thread takes over in the middle of a frame
    replaced, used = threading.Event(), list[int]()
    Made.all.clear()

    def replaces(_ctx: RequestContext, _params: object) -> None:
        two().replace_on_own_loop()
        assert eventually(lambda: len(Made.all) == 2)
        assert eventually(lambda: bool(stream.instances._successors)), "the successor is ready"
        assert not retired, "what has come for the first one has not run yet"
        replaced.set()

    def notes(ctx: RequestContext, _params: object) -> None:
        used.append(ctx.prepared.closed)

    policies = [
        LoadedPolicy("replaces", "v1", Hook("on_request", replaces)),
        LoadedPolicy("lives", "v1", Hook("on_request", notes), prepare=Hook("prepare", lives)),
    ]
    preparer = NotedPreparer(dispatcher.loops)
    retired = preparer.retired
    process = Process({policy.key: policy for policy in policies}, dispatcher, preparer, pb.Hello())
    engine = Engine(process, [], 2)
    stream = engine.stream

    def two() -> Instance:
        instance = stream.instances.get(2)
        assert instance is not None
        return instance

    stream.receive(pb.RequestFrame(configure=[configuration(1, "replaces:v1"), configuration(2, "lives:v1")]))
    assert engine.settled.wait(20)
    assert eventually(lambda: two().limit > 0)
    for number in (1, 2):
        instance = stream.instances.get(number)
        assert instance is not None
        instance.latency.is_quick = True  # so that its executions run where they are read
    stream.receive(pb.RequestFrame(executions=[request_execution(1, 1), request_execution(2, 2)]))
    assert replaced.is_set()
    assert eventually(lambda: bool(used))
    assert used == [0], "it was closed already"
    stream.receive(pb.RequestFrame(executions=[request_execution(3, 2)]))
    assert eventually(lambda: Made.all[0].closed == 1)
    assert len(retired) == 1
    assert eventually(lambda: len(used) == 2)
    assert (used, Made.all[1].closed) == ([0, 0], 0)
    stream.instances.close_all()
    assert eventually(lambda: Made.all[1].closed == 1)
    dispatcher.pool.stop()
    Made.all.clear()
