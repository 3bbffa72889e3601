"""For any cuts and any delays of an engine, a chain of streams yields its body once, in order, and ends."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest
from gatewright.policy import RequestStreamContext
from gatewright_executor._gen import python_executor_pb2 as pb
from gatewright_executor.grpc.protocol import Status
from gatewright_executor.policies.policy_loader import Hook, LoadedPolicy
from gatewright_executor.running.dispatch import Dispatcher
from gatewright_executor.running.inline_runner import InlineRunner
from gatewright_executor.running.pipe import PIECE_BYTES, WINDOW_BYTES
from gatewright_executor.running.prepare import Preparer
from gatewright_executor.session.instances import Process
from gatewright_executor.session.stream import Stream
from gatewright_executor.testing import configuration, eventually, piece, request_stream
from hypothesis import given, settings
from hypothesis import strategies as st


async def cuts(
    _ctx: RequestStreamContext, chunks: AsyncIterator[bytes], params: dict[str, Any]
) -> AsyncIterator[bytes]:  # fmt: skip
    """The body cut anew, with pauses in between."""
    size, kept = params["size"], b""
    async for chunk in chunks:
        assert 0 < len(chunk) <= PIECE_BYTES
        kept += chunk
        while len(kept) >= size:
            yield kept[:size]
            kept = kept[size:]
            if params["rests"]:
                await asyncio.sleep(0)
    yield kept


POLICY = LoadedPolicy("cuts", "v1", on_request_stream=Hook("on_request_stream", cuts, is_coroutine=True))


@pytest.fixture(scope="module")
def process() -> Iterator[Process]:
    dispatcher = Dispatcher(2)
    dispatcher.start()
    yield Process({POLICY.key: POLICY}, dispatcher, Preparer(dispatcher.loops), pb.Hello())
    dispatcher.stop()


@dataclass
class Link:
    """What an engine knows of one stream of a chain."""

    waiting: bytes = b""  # of its body
    ended: bool = False  # all of its body has come to the engine
    end_sent: bool = False
    started: bool = False
    credit: int = WINDOW_BYTES
    came: int = 0  # bytes of its output
    actions: list[pb.Action] = field(default_factory=list)


class Chain:
    """An engine with one exchange: it passes what one stream yields to the next one, some time later."""

    def __init__(self, process: Process, body: bytes, sizes: list[int], rests: list[bool], random: Random) -> None:
        self.random = random
        self.links = [Link() for _ in sizes]
        self.links[0] = Link(body, ended=True)
        self.output = bytearray()
        self.frames: deque[pb.ReplyFrame] = deque()
        self.changed = threading.Condition()
        self.statuses = 0
        self.stream = Stream(process, self, InlineRunner(process.dispatcher, lambda _term: None))
        self.stream.receive(
            pb.RequestFrame(
                configure=[
                    configuration(number, POLICY.key, {"size": size, "rests": rests[number % len(rests)]})
                    for number, size in enumerate(sizes, 1)
                ]
            )
        )
        assert eventually(lambda: self._are_configured(len(sizes)))

    def send(self, message: bytes) -> None:
        with self.changed:
            self.frames.append(pb.ReplyFrame.FromString(message))
            self.changed.notify_all()

    def finish(self, _status: Status = Status.OK, _why: str = "") -> None:
        """The stream has ended."""

    def _are_configured(self, count: int) -> bool:
        self._apply()
        return self.statuses == count

    def run(self) -> None:
        self._start(1)
        while not self.links[-1].actions:
            if not self._pass_on():
                with self.changed:
                    assert self.changed.wait_for(lambda: bool(self.frames), 20), self.links
            self._apply()

    def _apply(self) -> None:
        while self.frames:
            frame = self.frames.popleft()
            self.statuses += len(frame.instances)
            credits_given: dict[int, int] = {}
            for came in frame.pieces:
                self._receive(came.id, came.data)
                credits_given[came.id] = credits_given.get(came.id, 0) + len(came.data)
            for credit in frame.credit:
                self.links[credit.id - 1].credit += credit.bytes
            for action in frame.actions:
                self.links[action.id - 1].actions.append(action)
                if action.id < len(self.links):
                    self.links[action.id].ended = True
                    self._start(action.id + 1)
            for number, size in credits_given.items():
                self.stream.receive(pb.RequestFrame(credit=[pb.Credit(id=number, bytes=size)]))

    def _receive(self, number: int, data: bytes) -> None:
        self.links[number - 1].came += len(data)
        if number == len(self.links):
            self.output += data
        else:
            self.links[number].waiting += data
            self._start(number + 1)

    def _start(self, number: int) -> None:
        if not self.links[number - 1].started:
            self.links[number - 1].started = True
            self.stream.receive(pb.RequestFrame(executions=[request_stream(number, number, source=number - 1)]))

    def _pass_on(self) -> bool:
        """Sends a piece to one of the streams that one can be sent to."""
        sendable = [n for n, link in enumerate(self.links) if self._can_send(link)]
        if not sendable:
            return False
        at = self.random.choice(sendable)
        link = self.links[at]
        size = min(len(link.waiting), self.random.choice((1, 100, 5000, PIECE_BYTES)))
        data, link.waiting = link.waiting[:size], link.waiting[size:]
        link.credit -= size
        link.end_sent = link.ended and not link.waiting
        self.stream.receive(pb.RequestFrame(pieces=[piece(at + 1, data, last=link.end_sent)]))
        return True

    def _can_send(self, link: Link) -> bool:
        return link.started and not link.end_sent and link.credit > 0 and bool(link.waiting or link.ended)


@settings(max_examples=60, deadline=None)
@given(
    length=st.one_of(st.integers(0, 40), st.integers(0, 30_000), st.sampled_from([262_144, 400_000])),
    sizes=st.lists(st.one_of(st.integers(500, 5000), st.integers(1, 1 << 18)), min_size=2, max_size=4),
    rests=st.lists(st.booleans(), min_size=1, max_size=4),
    seed=st.integers(0, 1 << 32),
)
def test_a_chain_yields_its_body_once_and_in_order(
    process: Process, length: int, sizes: list[int], rests: list[bool], seed: int
) -> None:
    body = (bytes(range(251)) * 2000)[:length]
    sizes = [max(size, length // 500) for size in sizes]
    # How often the engine chooses depends on when frames come, so what it chooses by is no draw of hypothesis.
    chain = Chain(process, body, sizes, rests, Random(seed))  # noqa: S311 — no secret
    chain.run()
    assert bytes(chain.output) == body
    assert [len(link.actions) for link in chain.links] == [1] * len(sizes)
    assert not any(action.HasField("failure") for link in chain.links for action in link.actions)
    assert not chain.stream._running
    assert not chain.stream._bodies.numbers()
    chain.stream.drain()
