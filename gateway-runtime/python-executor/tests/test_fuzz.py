"""Valid and invalid conversations with the executor's server, compared with h2: `make fuzz`."""

from __future__ import annotations

import logging
import struct
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from unittest.mock import patch

import hpack
import pytest
from gatewright_executor.grpc.frames import PREFACE
from gatewright_executor.grpc.message_framing import frame_message
from gatewright_executor.grpc.outbox import DEFAULT_WINDOW, LARGEST_WINDOW
from gatewright_executor.grpc.protocol import (
    CallStarted,
    ConnectionLost,
    Event,
    GrpcConnection,
    HalfClosed,
    Message,
    log,
)
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, RequestReceived
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings
from hypothesis import example, given, settings
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
def _violations_are_made_here_on_purpose() -> Iterator[None]:
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
    st.binary(max_size=60).map(frame_message),
    st.integers(0, 2 * LIMIT).map(lambda size: frame_message(b"x" * size)),
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
    """Frames of a kind, mostly valid ones."""
    payload = st.one_of(PAYLOADS[kind], st.builds(padded, PAYLOADS[kind], st.integers(0, 20)), st.binary(max_size=20))
    number = st.just(0) if kind in (SETTINGS, PING, AWAY) else NUMBERS
    return st.builds(frame, st.just(kind), FLAGS, st.one_of(number, NUMBERS), payload)


OPEN = st.builds(
    lambda number, flags, indexed: frame(HEADERS, flags, number, block(indexed=indexed, fields=REQUEST)),
    st.sampled_from([1, 3, 5]),
    st.sampled_from([WHOLE, WHOLE, WHOLE | END]),
    st.booleans(),
)
SAY = st.builds(
    lambda number, end, data: frame(DATA, end, number, data),
    st.sampled_from([1, 3]),
    st.sampled_from([0, 0, END]),
    MESSAGES,
)
FRAMES = st.one_of(OPEN, SAY, *(of_kind(kind) for kind in PAYLOADS))
CHANGES = st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), max_size=2)
CUTS = st.lists(st.integers(0, 4000), max_size=8)


def changed(data: bytes, changes: list[tuple[int, int]]) -> bytes:
    """The data with other bytes in some places."""
    out = bytearray(data)
    for place, byte in changes:
        out[place % len(out)] = byte
    return bytes(out)


WHOLE_FRAMES = st.lists(FRAMES, max_size=12).map(lambda frames: PREFACE + b"".join(frames))
CONVERSATIONS = st.one_of(WHOLE_FRAMES, st.builds(changed, WHOLE_FRAMES, CHANGES))


def events_of(server: GrpcConnection, data: bytes, cuts: list[int]) -> list[Event]:
    """The server's events for data that comes in pieces; messages are echoed."""
    events: list[Event] = []
    for start, end in pairwise([0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]):
        for event in server.receive(data[start:end]):
            events.append(event)
            if isinstance(event, Message):
                server.send(event.stream_id, event.data)
    return events


@settings(deadline=None)
@given(CONVERSATIONS, CUTS)
def test_a_conversation_gives_the_same_events_however_it_is_cut(data: bytes, cuts: list[int]) -> None:
    assert events_of(GrpcConnection(LIMIT), data, cuts) == events_of(GrpcConnection(LIMIT), data, [])


# ------------------------------------------------------------------ what h2 makes of it

THEIRS_ALONE = [
    "may not depend on itself",  # priorities mean nothing any more (RFC 9113, 5.3.2)
    "invalid padding",  # h2 takes a frame that is padding alone for a violation
    "Setting 8 has invalid value",  # extended CONNECT (RFC 8441), which is none of a client's settings
    "non-compliant data",  # h2 takes the reserved bit of a window's credit for a part of the number
    "is lower than",  # a number that was left out: ours is held for a call that has ended
]
OURS_ALONE = [
    "STREAM_CLOSED",  # which ends a call in h2, and the connection here
    "expected headers to end call",  # the same
    "expected a call that has begun",  # h2 leaves a reset of one that never did out
    "expected a priority",  # h2 takes the padding for it
    # Of a setting that a frame has twice, h2 looks at the last value; all count, in their order (RFC 9113, 6.5.3).
    "expected promises to be allowed or not",
    "expected frames of 16 KiB to 16 MiB",
    "expected windows of at most",
]


def finished(data: bytes) -> bytes:
    """The data with an end for unfinished headers: h2 does not look at them before it."""
    at, unfinished = len(PREFACE), 0
    while at < len(data):
        size, (kind, flags, number) = int.from_bytes(data[at : at + 3]), HEAD.unpack_from(data, at + 3)
        if kind in (HEADERS, PROMISE, CONTINUATION):
            unfinished = 0 if flags & WHOLE else number & ((1 << 31) - 1)
        at += 9 + size
    return data + (frame(CONTINUATION, WHOLE, unfinished, b"") if unfinished else b"")


class Reference:
    """h2's server: which calls begin, and whether the connection is over."""

    def __init__(self, data: bytes) -> None:
        h2 = H2Connection(H2Configuration(client_side=False, header_encoding=None, validate_inbound_headers=False))
        sizes = {SettingCodes.INITIAL_WINDOW_SIZE: 1 << 24, SettingCodes.MAX_HEADER_LIST_SIZE: 64 << 10}
        h2.local_settings = Settings(client=False, initial_values=sizes)
        h2.initiate_connection()
        self.begun: list[int] = []
        self.over = self.violation = ""
        try:
            for event in h2.receive_data(data):
                self._read_event(event)
        except ProtocolError as error:
            self.over = self.violation = f"{type(error).__name__}: {error}"

    def _read_event(self, event: object) -> None:
        if isinstance(event, RequestReceived):
            fields = dict(event.headers or ())
            if fields.get(b":method") == b"POST" and fields.get(b"content-type") == b"application/grpc":
                self.begun.append(event.stream_id or 0)
        elif isinstance(event, ConnectionTerminated):
            self.over = "a GOAWAY"


@settings(deadline=None)
@given(WHOLE_FRAMES)
@example(PREFACE + b"\x00\x00\x0c\x04\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00d\x00\x02\x00\x00\x00\x00")
@example(PREFACE + b"\x00\x00\x00\x01\x04\x00\x00\x00\x01" + b"\x00\x00\x00\x00\x08\x00\x00\x00\x01")
def test_a_violation_is_one_to_h2_too(data: bytes) -> None:
    data = finished(data)
    with patch.object(log, "error") as logged:
        events = events_of(GrpcConnection(LIMIT), data, [])
    theirs = Reference(data)
    violation = str(logged.call_args.args[1]) if logged.called else ""
    over = bool(events) and events[-1] == ConnectionLost()
    if not over and theirs.over:
        assert any(reason in theirs.violation for reason in THEIRS_ALONE), theirs.over
    elif over and not theirs.over:
        assert any(reason in violation for reason in OURS_ALONE), violation
    elif not over:
        assert [event.stream_id for event in events if isinstance(event, CallStarted)] == theirs.begun


# ------------------------------------------------------------------ what is answered


class Judge:
    """Checks that the server keeps to HTTP/2, as far as the client's own frames allow."""

    def __init__(self, data: bytes) -> None:
        self.pings, self.settings = 0, 0
        self.credit: Counter[int] = Counter()
        self.window, self.largest = DEFAULT_WINDOW, 1 << 14
        self.decoder = hpack.Decoder()
        self.opened: set[int] = set()
        self.ended: set[int] = set()
        self.reset: set[int] = set()
        self.data: Counter[int] = Counter()
        self.gone = False
        for kind, flags, number, payload in frames_of(data.removeprefix(PREFACE)):
            self._read_client_frame(kind, flags, number, payload)

    def _read_client_frame(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        if kind == PING:
            self.pings += not flags & END
        elif kind == SETTINGS:
            self.settings += not flags & END
            for name, value in struct.iter_unpack(">HI", payload[: len(payload) // 6 * 6]):
                self.window = max(self.window, value) if name == SettingCodes.INITIAL_WINDOW_SIZE else self.window
                self.largest = max(self.largest, value) if name == SettingCodes.MAX_FRAME_SIZE else self.largest
        elif kind == CREDIT:
            self.credit[number] += int.from_bytes(payload) & LARGEST_WINDOW

    def check(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        assert not self.gone, "nothing comes after a GOAWAY"
        assert len(payload) <= self.largest
        if kind == DATA:
            self._check_data(number, payload)
        elif kind == HEADERS:
            self._check_headers(flags, number, payload)
        elif kind == RESET:
            self.reset.add(number)
        elif kind == PING:
            self.pings -= 1
            assert flags == END
            assert self.pings >= 0
        elif kind == SETTINGS and flags == END:
            self.settings -= 1
            assert self.settings >= 0
        elif kind == AWAY:
            self.gone = True
        else:
            assert kind in (SETTINGS, CREDIT)

    def _check_data(self, number: int, payload: bytes) -> None:
        self.data.update({0: len(payload), number: len(payload)})
        assert number in self.opened - self.ended - self.reset
        assert self.data[0] <= DEFAULT_WINDOW + self.credit[0]
        assert self.data[number] <= self.window + self.credit[number]

    def _check_headers(self, flags: int, number: int, payload: bytes) -> None:
        fields = dict(self.decoder.decode(payload, raw=True))
        assert number not in self.ended | self.reset
        assert (b":status" in fields) == (number not in self.opened)
        assert flags & WHOLE
        assert (b"grpc-status" in fields) <= bool(flags & END)
        self.opened.add(number)
        if flags & END:
            self.ended.add(number)


def frames_of(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """Kind, flags, number, payload; the last one may be cut off."""
    at = 0
    while at + 9 <= len(data):
        size, (kind, flags, number) = int.from_bytes(data[at : at + 3]), HEAD.unpack_from(data, at + 3)
        yield kind, flags, number & LARGEST_WINDOW, data[at + 9 : at + 9 + size]
        at += 9 + size


@settings(deadline=None)
@given(CONVERSATIONS, CUTS, st.booleans())
def test_what_is_answered_keeps_the_rules(data: bytes, cuts: list[int], ends: bool) -> None:
    server, judge = GrpcConnection(LIMIT), Judge(data)
    for event in events_of(server, data, cuts):
        if isinstance(event, HalfClosed) and ends:
            server.finish(event.stream_id)
    answer = server.outgoing()
    for kind, flags, number, payload in frames_of(answer):
        judge.check(kind, flags, number, payload)
    assert len(answer) < 1 << 20
