"""Conversations of bytes with the executor's server, right and wrong ones: `make fuzz`. The measure is h2."""

from __future__ import annotations

import logging
import struct
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import pairwise

import hpack
import pytest
from gatewright_executor.calls import Begun, Calls, ConnectionLost, Event, HalfClosed, Message
from gatewright_executor.frames import PREFACE
from gatewright_executor.outbox import DEFAULT_WINDOW, LARGEST_WINDOW
from gatewright_executor.prefixed import CompressedError, Messages, MessageTooLargeError, prefixed
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, DataReceived, RequestReceived, StreamEnded
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings
from hypothesis import given, settings
from hypothesis import strategies as st

LIMIT = 4096  # bytes of a message
DATA, HEADERS, PRIORITY, RESET, SETTINGS, PROMISE, PING, AWAY, CREDIT, CONTINUATION = range(10)
END, WHOLE, PADDED, WITH_PRIORITY = 1, 4, 8, 32
REQUEST = [
    (":method", "POST"),
    (":scheme", "http"),
    (":path", "/p.Service/Method"),
    ("content-type", "application/grpc"),
]
HEAD = struct.Struct(">BBI")


@pytest.fixture(autouse=True)
def _breaches_are_made_here_on_purpose() -> Iterator[None]:
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


def frame(kind: int, flags: int, number: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3) + HEAD.pack(kind, flags, number) + payload


def block(*, indexed: bool, fields: list[tuple[str, str]]) -> bytes:
    """Headers that a decoder can read at any time."""
    encoder = hpack.Encoder()
    if not indexed:
        return encoder.encode([hpack.NeverIndexedHeaderTuple(name, value) for name, value in fields])
    return encoder.encode(fields)


NUMBERS = st.one_of(st.sampled_from([1, 1, 1, 3, 5]), st.integers(0, 9), st.integers(0, (1 << 31) - 1))
FLAGS = st.one_of(st.sampled_from([0, END, WHOLE, WHOLE | END]), st.integers(0, 255))
FIELDS = st.sampled_from([REQUEST, REQUEST[:3], [("x-end", "yes")], [*REQUEST, ("x-long", "x" * 5000)]])
BLOCKS = st.one_of(
    st.builds(block, indexed=st.booleans(), fields=FIELDS), st.binary(max_size=20), st.just(b"\x80"), st.just(b"")
)
PRIORITIES = st.builds(struct.Struct(">IB").pack, st.integers(0, (1 << 32) - 1), st.integers(0, 255))
CREDITS = st.builds(
    struct.Struct(">I").pack, st.one_of(st.integers(0, 99), st.sampled_from([1 << 16, (1 << 31) - 1, 1 << 31]))
)
SETTING = st.builds(
    struct.Struct(">HI").pack,
    st.integers(0, 9),
    st.one_of(st.integers(0, 3), st.sampled_from([100, 1 << 14, 1 << 16, 1 << 24, (1 << 31) - 1, 1 << 31])),
)
MESSAGES = st.one_of(
    st.binary(max_size=60).map(prefixed),
    st.integers(0, 2 * LIMIT).map(lambda size: prefixed(b"x" * size)),
    st.binary(max_size=20),
    st.just(b""),
)
PAYLOADS: dict[int, st.SearchStrategy[bytes]] = {
    DATA: MESSAGES,
    HEADERS: st.one_of(BLOCKS, st.builds(bytes.__add__, PRIORITIES, BLOCKS)),
    PRIORITY: PRIORITIES,
    RESET: st.just(b"\0\0\0\x08"),
    SETTINGS: st.lists(SETTING, max_size=4).map(b"".join),
    PROMISE: st.just(b"\0\0\0\2"),
    PING: st.binary(min_size=8, max_size=8),
    AWAY: st.binary(min_size=8, max_size=12),
    CREDIT: CREDITS,
    CONTINUATION: BLOCKS,
    99: st.binary(max_size=9),
}


def padded(payload: bytes, size: int) -> bytes:
    return bytes([size]) + payload + bytes(size)


def of_kind(kind: int) -> st.SearchStrategy[bytes]:
    """Mostly as it should be."""
    payload = st.one_of(PAYLOADS[kind], st.builds(padded, PAYLOADS[kind], st.integers(0, 20)), st.binary(max_size=20))
    number = st.just(0) if kind in (SETTINGS, PING, AWAY) else NUMBERS
    return st.builds(frame, st.just(kind), FLAGS, st.one_of(number, NUMBERS), payload)


OPEN = st.builds(
    lambda number, flags, indexed: frame(HEADERS, flags, number, block(indexed=indexed, fields=REQUEST)),
    st.sampled_from([1, 3, 5]),
    st.sampled_from([WHOLE, WHOLE, WHOLE | END]),
    st.booleans(),
)
SAY = st.builds(lambda number, end, data: frame(DATA, end, number, data), st.sampled_from([1, 3]), st.sampled_from([0, 0, END]), MESSAGES)
FRAMES = st.one_of(OPEN, SAY, *(of_kind(kind) for kind in PAYLOADS))
CHANGES = st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), max_size=2)
CUTS = st.lists(st.integers(0, 4000), max_size=8)


def changed(said: bytes, changes: list[tuple[int, int]]) -> bytes:
    """With other bytes in some places."""
    out = bytearray(said)
    for place, byte in changes:
        out[place % len(out)] = byte
    return bytes(out)


WHOLE_FRAMES = st.lists(FRAMES, max_size=12).map(lambda frames: PREFACE + b"".join(frames))
CONVERSATIONS = st.one_of(WHOLE_FRAMES, st.builds(changed, WHOLE_FRAMES, CHANGES))


def heard(server: Calls, said: bytes, cuts: list[int]) -> list[Event]:
    """What the server makes of it, in pieces; it echoes messages."""
    events: list[Event] = []
    for start, end in pairwise([0, *sorted(cut % (len(said) + 1) for cut in cuts), len(said)]):
        for event in server.receive(said[start:end]):
            events.append(event)
            if isinstance(event, Message):
                server.send(event.call, event.data)
    return events


@settings(deadline=None)
@given(CONVERSATIONS, CUTS)
def test_a_conversation_is_heard_alike_however_it_is_cut(said: bytes, cuts: list[int]) -> None:
    assert heard(Calls(LIMIT), said, cuts) == heard(Calls(LIMIT), said, [])


# ------------------------------------------------------------------ what h2 makes of it


class Reference:
    """h2's server: what it hears, and whether the rules were broken."""

    def __init__(self, said: bytes) -> None:
        h2 = H2Connection(H2Configuration(client_side=False, header_encoding=None, validate_inbound_headers=False))
        h2.local_settings = Settings(
            client=False,
            initial_values={
                SettingCodes.INITIAL_WINDOW_SIZE: 1 << 24,
                SettingCodes.MAX_CONCURRENT_STREAMS: 100,
                SettingCodes.MAX_HEADER_LIST_SIZE: 64 << 10,
            },
        )
        h2.initiate_connection()
        self.begun: list[int] = []
        self.ended: list[int] = []
        self.data: defaultdict[int, bytes] = defaultdict(bytes)
        self.breach: ProtocolError | None = None
        try:
            for event in h2.receive_data(said):
                self._take(event)
        except ProtocolError as error:
            self.breach = error

    def _take(self, event: object) -> None:
        match event:
            case RequestReceived(stream_id=number, headers=fields):
                if dict(fields or ()).get(b":method") == b"POST":
                    self.begun.append(number)
        return None


