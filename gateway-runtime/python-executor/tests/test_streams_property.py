"""For any cuts, credits and order of frames, each stream yields its body once, and never ahead of credit."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
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


async def cuts(ctx: RequestStreamContext, chunks: AsyncIterator[bytes], params: dict[str, Any]) -> AsyncIterator[bytes]:
    """The body cut anew, with pauses in between; then its trailers."""
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
    ctx.trailers["x-sum"] = ctx.trailers["x-sum"]


POLICIES = [LoadedPolicy("cuts", "v1", on_request_stream=Hook("on_request_stream", cuts, is_coroutine=True))]


@pytest.fixture(scope="module")
def process() -> Iterator[Process]:
    dispatcher = Dispatcher(2)
    dispatcher.start()
    yield Process({policy.key: policy for policy in POLICIES}, dispatcher, Preparer(dispatcher.loops), pb.Hello())
    dispatcher.stop()


@dataclass
class Body:
    """The body that a stream was sent, and its answer."""

    data: bytes
    cuts: list[int]
    grants: list[int]
    cancelled_after: int | None
    sent: int = 0
    credit: int = WINDOW_BYTES
    granted: int = WINDOW_BYTES
    came: bytes = b""
    actions: list[pb.Action] = field(default_factory=list)


class Conversation:
    """An engine that keeps to its credit, and checks that the executor keeps to its own."""

    def __init__(self, process: Process, bodies: Sequence[Body]) -> None:
        self.bodies = dict(enumerate(bodies, 1))
        self.changed = threading.Condition()
        self.wrong: list[str] = []
        self.statuses = 0
        self.finished = False
        self.stream = Stream(process, self, InlineRunner(process.dispatcher, lambda _term: None))

    def send(self, message: bytes) -> None:
        frame = pb.ReplyFrame.FromString(message)
        with self.changed:
            self.statuses += len(frame.instances)
            for piece in frame.pieces:
                self._piece(self.bodies[piece.id], piece)
            for credit in frame.credit:
                self.bodies[credit.id].credit += credit.bytes
            for action in frame.actions:
                action.ClearField("work_us")
                self.bodies[action.id].actions.append(action)
            self.changed.notify_all()

    def finish(self, _status: Status = Status.OK, _why: str = "") -> None:
        with self.changed:
            self.finished = True
            self.changed.notify_all()

    def _piece(self, body: Body, sent: pb.Piece) -> None:
        if body.granted - len(body.came) <= 0:
            self.wrong.append("a piece without credit")
        if len(sent.data) > PIECE_BYTES:
            self.wrong.append(f"a piece of {len(sent.data)} bytes")
        if body.actions:
            self.wrong.append("a piece after the action")
        body.came += sent.data

    def feed(self, order: list[int]) -> None:
        """Turn by turn, in `order`, until all is sent."""
        turn = 0
        while pending := [number for number in self.bodies if self._is_open(number)]:
            number = pending[order[turn % len(order)] % len(pending)]
            turn += 1
            self.stream.receive(self._frame(number, turn))
            if not self._any_can_go_on():
                with self.changed:
                    assert self.changed.wait_for(self._any_can_go_on, 20), self.state()

    def _is_open(self, number: int) -> bool:
        body = self.bodies[number]
        return not body.actions and body.cancelled_after != -1

    def _any_can_go_on(self) -> bool:
        return any(map(self._can_go_on, self.bodies)) or not any(map(self._is_open, self.bodies))

    def _can_go_on(self, number: int) -> bool:
        body = self.bodies[number]
        return self._is_open(number) and (
            body.granted - len(body.came) <= 0 or (body.credit > 0 and body.sent <= len(body.data))
        )

    def _frame(self, number: int, turn: int) -> pb.RequestFrame:
        body = self.bodies[number]
        frame = pb.RequestFrame()
        if body.cancelled_after is not None and turn > body.cancelled_after:
            body.cancelled_after = -1
            frame.cancel.append(number)
            return frame
        with self.changed:
            if body.granted - len(body.came) <= 0:
                more = body.grants[turn % len(body.grants)]
                body.granted += more
                frame.credit.add(id=number, bytes=more)
            if body.credit > 0 and body.sent <= len(body.data):
                data = body.data[body.sent : body.sent + body.cuts[turn % len(body.cuts)]]
                body.credit -= len(data)
                body.sent += len(data)
                last = body.sent == len(body.data)
                frame.pieces.append(piece(number, data, last=last, trailers={"x-sum": str(number)} if last else None))
                body.sent += last  # nothing follows
        return frame

    def state(self) -> str:
        return str(
            [(b.sent, len(b.data), b.credit, b.granted, len(b.came), len(b.actions)) for b in self.bodies.values()]
        )


BODIES = st.builds(
    lambda length, cuts, grants, cancelled: Body((bytes(range(251)) * 3000)[:length], cuts, grants, cancelled),
    st.one_of(st.integers(0, 40), st.integers(0, 600_000), st.sampled_from([262_144, 300_000, 500_000, 700_000])),
    st.lists(st.integers(1000, PIECE_BYTES), min_size=1, max_size=4),
    st.lists(st.integers(1000, WINDOW_BYTES), min_size=1, max_size=4),
    st.none() | st.none() | st.integers(0, 6),
)


@settings(max_examples=60, deadline=None)
@given(
    bodies=st.lists(BODIES, min_size=1, max_size=4),
    order=st.lists(st.integers(0, 7), min_size=1, max_size=9),
    size=st.one_of(st.integers(500, 5000), st.integers(1, 1 << 18)),
    rests=st.booleans(),
)
def test_each_stream_yields_its_body_once_and_never_ahead_of_credit(
    process: Process, bodies: list[Body], order: list[int], size: int, rests: bool
) -> None:
    size = max(size, *(len(body.data) // 500 for body in bodies))
    conversation = Conversation(process, bodies)
    conversation.stream.receive(
        pb.RequestFrame(configure=[configuration(1, "cuts:v1", {"size": size, "rests": rests})])
    )
    assert eventually(lambda: conversation.statuses == 1)
    conversation.stream.receive(pb.RequestFrame(executions=map(request_stream, conversation.bodies)))
    conversation.feed(order)
    conversation.stream.drain()
    with conversation.changed:
        assert conversation.changed.wait_for(lambda: conversation.finished, 20), conversation.state()
    assert not conversation.wrong
    for number, body in conversation.bodies.items():
        if body.cancelled_after == -1:
            assert len(body.actions) <= 1
            assert body.data.startswith(body.came)
            continue
        assert body.came == body.data
        assert body.actions == [pb.Action(id=number, set_trailers=b"x-sum\0%d\0" % number)]
    assert not conversation.stream._running
    assert not conversation.stream._bodies.numbers()
