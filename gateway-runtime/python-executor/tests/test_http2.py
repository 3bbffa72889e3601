"""The rules of HTTP/2, byte for byte: what a client must not do, what it may, and what it has allowed. No socket."""

import struct
import tracemalloc
from collections import Counter
from itertools import pairwise

import hpack
import pytest
from gatewright_executor.grpc.frames import PREFACE
from gatewright_executor.grpc.message_framing import MessageReader, frame_message
from gatewright_executor.grpc.protocol import (
    Aborted,
    CallStarted,
    ConnectionLost,
    Event,
    GrpcConnection,
    HalfClosed,
    Message,
)
from hypothesis import given, settings
from hypothesis import strategies as st

LIMIT = 1 << 20
FRAME = 16 << 10
DATA, HEADERS, PRIORITY, RESET, SETTINGS, PROMISE, PING, AWAY, CREDIT, CONTINUATION = range(10)
ACK = END = 1
WHOLE, PADDED, WITH_PRIORITY = 4, 8, 32
PROTOCOL, FLOW_CONTROL, CLOSED, FRAME_SIZE, REFUSED, COMPRESSION, CALM = 1, 3, 5, 6, 7, 9, 11
FIELDS = [
    (":method", "POST"),
    (":scheme", "http"),
    (":path", "/p.Service/Method"),
    ("content-type", "application/grpc"),
]
BLOCK = hpack.Encoder().encode(FIELDS)
OF_NO_METHOD = hpack.Encoder().encode(FIELDS[1:])


def frame(kind: int, flags: int = 0, number: int = 0, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, number) + payload


def setting(name: int, value: int) -> bytes:
    return frame(SETTINGS, payload=struct.pack(">HI", name, value))


def credit(number: int, more: int) -> bytes:
    return frame(CREDIT, 0, number, struct.pack(">I", more))


def frames_of(data: bytes) -> list[tuple[int, int, int, bytes]]:
    """Kind, flags, number, payload."""
    found, at = [], 0
    while at < len(data):
        length = int.from_bytes(data[at : at + 3])
        kind, flags, number = struct.unpack_from(">BBI", data, at + 3)
        found.append((kind, flags, number, data[at + 9 : at + 9 + length]))
        at += 9 + length
    return found


class Peer:
    """A client that may send invalid frames, too."""

    def __init__(self) -> None:
        self.server = GrpcConnection(LIMIT)
        self.events = self.server.receive(PREFACE + frame(SETTINGS))
        self.server.outgoing()

    def open(self, number: int, flags: int = WHOLE) -> None:
        self.send(frame(HEADERS, flags, number, BLOCK))

    def send(self, data: bytes) -> list[tuple[int, int, int, bytes]]:
        """Returns the frames that the server answers with."""
        self.events += self.server.receive(data)
        return frames_of(self.server.outgoing())


VIOLATIONS = {
    "data of no call": (PROTOCOL, frame(DATA, 0, 0, b"x")),
    "data of a call that never began": (PROTOCOL, frame(DATA, 0, 3, b"x")),
    "data after the end": (CLOSED, frame(DATA, END, 1) + frame(DATA, 0, 1, b"x")),
    "a second end": (CLOSED, frame(DATA, END, 1) + frame(DATA, END, 1)),
    "trailers after the end": (CLOSED, frame(DATA, END, 1) + frame(HEADERS, WHOLE | END, 1, BLOCK)),
    "more padding than data": (PROTOCOL, frame(DATA, PADDED, 1, b"\x09x")),
    "padding of nothing": (PROTOCOL, frame(DATA, PADDED, 1)),
    "a frame over 16 KiB": (FRAME_SIZE, frame(DATA, 0, 1, b"x" * (FRAME + 1))),
    "too large a window for all calls": (FLOW_CONTROL, credit(0, (1 << 31) - 1)),
    "too large a window for a call": (FLOW_CONTROL, credit(1, (1 << 31) - 1)),
    "credit of nothing": (PROTOCOL, credit(0, 0)),
    "credit of nothing for a call": (PROTOCOL, credit(1, 0)),
    "credit for a call that never began": (PROTOCOL, credit(3, 1)),
    "credit of five bytes": (FRAME_SIZE, frame(CREDIT, 0, 0, b"\0\0\0\1\0")),
    "an even number": (PROTOCOL, frame(HEADERS, WHOLE, 2, BLOCK)),
    "an even number below the last": (PROTOCOL, frame(HEADERS, WHOLE, 3, BLOCK) + frame(HEADERS, WHOLE, 2, BLOCK)),
    "data of an even number": (PROTOCOL, frame(HEADERS, WHOLE, 3, BLOCK) + frame(DATA, 0, 2, b"x")),
    "credit for an even number": (PROTOCOL, frame(HEADERS, WHOLE, 3, BLOCK) + credit(2, 1)),
    "a reset of an even number": (PROTOCOL, frame(HEADERS, WHOLE, 3, BLOCK) + frame(RESET, 0, 2, b"\0\0\0\x08")),
    "headers of no call": (PROTOCOL, frame(HEADERS, WHOLE, 0, BLOCK)),
    "headers of no call that go on": (PROTOCOL, frame(HEADERS, 0, 0, BLOCK)),
    "trailers that end nothing": (PROTOCOL, frame(HEADERS, WHOLE, 1, BLOCK)),
    "an index of no header": (COMPRESSION, frame(HEADERS, WHOLE, 3, b"\x80")),
    "headers cut off": (COMPRESSION, frame(HEADERS, WHOLE, 3, b"\x40\x05x")),
    "trailers that are none": (COMPRESSION, frame(HEADERS, WHOLE, 1, b"\x80")),
    "headers with more padding than there is": (PROTOCOL, frame(HEADERS, WHOLE | PADDED, 3, b"\x09x")),
    "headers over 64 KiB": (
        CALM,
        frame(HEADERS, 0, 3, b"x" * FRAME) + 4 * frame(CONTINUATION, 0, 3, b"x" * FRAME),
    ),
    "trailers that end nothing, after the end": (PROTOCOL, frame(DATA, END, 1) + frame(HEADERS, WHOLE, 1, BLOCK)),
    "headers in headers": (PROTOCOL, frame(HEADERS, 0, 3, BLOCK) + frame(HEADERS, WHOLE, 5, BLOCK)),
    "data in headers": (PROTOCOL, frame(HEADERS, 0, 3, BLOCK) + frame(DATA, 0, 1, b"x")),
    "a ping in headers": (PROTOCOL, frame(HEADERS, 0, 3, BLOCK) + frame(PING, payload=b"12345678")),
    "a continuation of nothing": (PROTOCOL, frame(CONTINUATION, WHOLE, 1, BLOCK)),
    "a continuation of no call": (PROTOCOL, frame(CONTINUATION, WHOLE, 0, BLOCK)),
    "a continuation of another's headers": (
        PROTOCOL,
        frame(HEADERS, 0, 3, BLOCK) + frame(CONTINUATION, WHOLE, 1),
    ),
    "a promise": (PROTOCOL, frame(PROMISE, WHOLE, 1, b"\0\0\0\2")),
    "a ping of seven bytes": (FRAME_SIZE, frame(PING, payload=b"1234567")),
    "a ping of a call": (PROTOCOL, frame(PING, 0, 1, b"12345678")),
    "a reset of three bytes": (FRAME_SIZE, frame(RESET, 0, 1, b"\0\0\0")),
    "a reset of a call that never began": (PROTOCOL, frame(RESET, 0, 3, b"\0\0\0\x08")),
    "half a setting": (FRAME_SIZE, frame(SETTINGS, payload=b"\0\4\0")),
    "settings of a call": (PROTOCOL, frame(SETTINGS, 0, 1)),
    "an acknowledgement with settings": (FRAME_SIZE, frame(SETTINGS, ACK, 0, b"\0\4\0\0\0\1")),
    "too large a window for new calls": (FLOW_CONTROL, setting(4, 1 << 31)),
    "too large a window for begun calls": (FLOW_CONTROL, credit(1, (1 << 31) - (1 << 16)) + setting(4, 1 << 17)),
    "headers that come in no end of empty pieces": (
        CALM,
        frame(HEADERS, 0, 3) + 2000 * frame(CONTINUATION, 0, 3),
    ),
    "headers with half a priority": (FRAME_SIZE, frame(HEADERS, WHOLE | WITH_PRIORITY, 3, b"\0\0\0\x10")),
    "headers with a priority in the padding": (
        FRAME_SIZE,
        frame(HEADERS, WHOLE | PADDED | WITH_PRIORITY, 3, b"\x02\0\0\0\0\x10"),
    ),
    "a priority of four bytes": (FRAME_SIZE, frame(PRIORITY, 0, 1, b"\0\0\0\x10")),
    "a priority of no call": (PROTOCOL, frame(PRIORITY, 0, 0, b"\0\0\0\1\x10")),
    "a GOAWAY of a call": (PROTOCOL, frame(AWAY, 0, 1, bytes(8))),
    "a GOAWAY of seven bytes": (FRAME_SIZE, frame(AWAY, 0, 0, bytes(7))),
    "promises allowed by half": (PROTOCOL, setting(2, 2)),
    "more pings than are answered": (CALM, 20_000 * frame(PING, payload=b"12345678")),
    "more settings than are answered": (CALM, 20_000 * frame(SETTINGS)),
    "more refused calls than are answered": (
        CALM,
        b"".join(frame(HEADERS, WHOLE, number, OF_NO_METHOD) for number in range(3, 40_003, 2)),
    ),
    "frames of no size": (PROTOCOL, setting(5, 0)),
    "frames of any size": (PROTOCOL, setting(5, 1 << 24)),
}  # fmt: skip


@pytest.mark.parametrize("what", VIOLATIONS)
def test_a_violation_ends_the_connection_with_its_reason(what: str) -> None:
    code, data = VIOLATIONS[what]
    peer = Peer()
    peer.open(1)
    answer = peer.send(data)
    assert peer.events[-1] == ConnectionLost()
    kind, flags, number, payload = answer[-1]
    assert (kind, flags, number, payload[4:]) == (AWAY, 0, 0, struct.pack(">I", code)), "GOAWAY, with the reason"
    assert peer.server.receive(PREFACE + frame(PING, payload=b"12345678")) == [], "nothing is read any more"
    peer.server.send(1, b"late")
    peer.server.finish(1)
    assert peer.server.outgoing() == b"", "and nothing is sent"


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n\r\n", b"PRI * HTTP/1.1", b"\0"])
def test_another_protocol_is_none_of_ours(data: bytes) -> None:
    server = GrpcConnection(LIMIT)
    assert server.receive(data) == [ConnectionLost()]
    assert frames_of(server.outgoing())[-1][3] == struct.pack(">II", 0, PROTOCOL)


@settings(deadline=None)
@given(st.lists(st.integers(0, len(PREFACE) + 9)))
def test_the_preface_may_be_cut_anywhere(cuts: list[int]) -> None:
    data = PREFACE + frame(SETTINGS) + frame(HEADERS, WHOLE, 1, BLOCK)
    server, events = GrpcConnection(LIMIT), list[Event]()
    for start, end in pairwise([0, *sorted(cuts), len(data)]):
        events += server.receive(data[start:end])
    assert events == [CallStarted(1, "/p.Service/Method")]


def test_the_preface_may_come_byte_by_byte() -> None:
    server, events = GrpcConnection(LIMIT), list[Event]()
    for byte in PREFACE + frame(SETTINGS) + frame(HEADERS, WHOLE, 1, BLOCK):
        events += server.receive(bytes([byte]))
    assert events == [CallStarted(1, "/p.Service/Method")]


def test_a_wrong_preface_is_refused_at_its_first_wrong_byte() -> None:
    server = GrpcConnection(LIMIT)
    assert server.receive(b"PRI * H") == []
    assert server.receive(b"X") == [ConnectionLost()]


def test_what_comes_after_a_goaway_begins_nothing() -> None:
    peer = Peer()
    peer.open(1)
    answer = peer.send(frame(AWAY, 0, 0, bytes(8)) + frame(HEADERS, WHOLE, 3, BLOCK) + frame(PING, payload=b"12345678"))
    assert peer.events == [CallStarted(1, "/p.Service/Method"), ConnectionLost()]
    assert answer == []
    peer.open(5)
    assert peer.events == [CallStarted(1, "/p.Service/Method"), ConnectionLost()], "nor in a later piece"


def test_a_client_that_reads_is_answered_any_number_of_pings() -> None:
    peer = Peer()
    for _ in range(30):
        assert len(peer.send(1000 * frame(PING, payload=b"12345678"))) == 1000


def test_empty_frames_of_data_are_not_kept() -> None:
    peer = Peer()
    peer.open(1)
    peer.send(frame(DATA, 0, 1, frame_message(b"one")[:6]))
    tracemalloc.start()
    try:
        peer.send(20_000 * frame(DATA, 0, 1))
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 20_000
    peer.send(frame(DATA, 0, 1, frame_message(b"one")[6:]))
    assert peer.events == [CallStarted(1, "/p.Service/Method"), Message(1, b"one")]


def test_a_message_in_tiny_pieces_takes_no_more_than_its_size() -> None:
    peer = Peer()
    peer.open(1)
    size = 128 << 10
    whole = frame_message(bytes(size))
    tracemalloc.start()
    try:
        for start in range(0, size - (2 << 12), 2 << 12):
            peer.send(b"".join(frame(DATA, 0, 1, whole[at : at + 2]) for at in range(start, start + (2 << 12), 2)))
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 2 * size


def test_what_came_before_a_violation_counts() -> None:
    peer = Peer()
    peer.open(1)
    peer.send(frame(DATA, 0, 1, frame_message(b"one")) + frame(PING))
    assert peer.events == [CallStarted(1, "/p.Service/Method"), Message(1, b"one"), ConnectionLost()]


@pytest.mark.parametrize(
    "data",
    [
        frame(PRIORITY, 0, 3, b"\0\0\0\1\x10"),
        frame(200, 0xFF, 1, b"of a later version"),
        setting(200, 1),
        frame(SETTINGS, ACK),
        frame(PING, ACK, 0, b"12345678"),
    ],
)
def test_what_means_nothing_here_changes_nothing(data: bytes) -> None:
    peer = Peer()
    peer.open(1)
    peer.send(data)
    peer.send(frame(DATA, END, 1, frame_message(b"one")))
    assert peer.events == [CallStarted(1, "/p.Service/Method"), Message(1, b"one"), HalfClosed(1)]


def test_headers_with_padding_and_priority_in_pieces() -> None:
    peer = Peer()
    block = b"\x02" + b"\0\0\0\0\x10" + BLOCK[:3] + b"\0\0"
    peer.send(frame(HEADERS, PADDED | WITH_PRIORITY, 1, block) + frame(CONTINUATION, 0, 1, BLOCK[3:9]))
    assert peer.events == []
    peer.send(frame(CONTINUATION, WHOLE, 1, BLOCK[9:]))
    peer.send(frame(DATA, PADDED, 1, b"\x03" + frame_message(b"one") + b"\0\0\0"))
    assert peer.events == [CallStarted(1, "/p.Service/Method"), Message(1, b"one")]


@pytest.mark.parametrize("end", [frame(DATA, END, 1), frame(HEADERS, WHOLE | END, 1, BLOCK)])
def test_either_end_of_a_call(end: bytes) -> None:
    peer = Peer()
    peer.open(1)
    peer.send(end)
    peer.open(3, WHOLE | END)
    begun: list[Event] = [
        CallStarted(1, "/p.Service/Method"),
        HalfClosed(1),
        CallStarted(3, "/p.Service/Method"),
        HalfClosed(3),
    ]
    assert peer.events == begun


def test_what_comes_for_a_call_that_has_ended_here_is_left_out() -> None:
    peer = Peer()
    peer.open(1)
    peer.server.finish(1)
    peer.server.outgoing()
    late = (
        frame(DATA, 0, 1, b"late")
        + credit(1, 1)
        + frame(HEADERS, WHOLE | END, 1, BLOCK)
        + frame(RESET, 0, 1, b"\0\0\0\x08")
    )
    assert peer.send(late) == []
    assert peer.events == [CallStarted(1, "/p.Service/Method")]


def test_more_calls_than_are_allowed_at_once() -> None:
    peer = Peer()
    for number in range(1, 201, 2):
        peer.open(number)
    assert peer.send(frame(HEADERS, WHOLE, 201, BLOCK)) == [(RESET, 0, 201, struct.pack(">I", REFUSED))]
    peer.send(frame(RESET, 0, 1, b"\0\0\0\x08"))
    peer.open(203)
    assert peer.events[-2:] == [Aborted(1), CallStarted(203, "/p.Service/Method")]


def test_credit_comes_before_a_client_needs_it() -> None:
    peer = Peer()
    peer.open(1)
    sent, granted, data = 0, {0: 0, 1: 0}, frame(DATA, 0, 1, frame_message(b"x" * (FRAME - 5)))
    while sent < 64 << 20:
        for _, _, number, payload in peer.send(data):
            granted[number] += int.from_bytes(payload)
        sent += FRAME
        assert all(sent - credit <= 4 << 20 for credit in granted.values())


def test_an_end_while_the_answer_still_waits() -> None:
    peer = Peer()
    peer.send(setting(4, 0))
    peer.open(1)
    peer.server.send(1, b"answer")
    peer.server.finish(1)
    peer.send(frame(DATA, 0, 1, frame_message(b"unread")) + frame(DATA, END, 1))
    answer = peer.send(credit(1, 100))
    assert [(kind, flags) for kind, flags, _, _ in answer] == [(DATA, 0), (HEADERS, WHOLE | END)], "and no reset"
    assert peer.events == [CallStarted(1, "/p.Service/Method")]


# ------------------------------------------------------------------ a account of the client's windows

CALLS = (1, 3)
SIZES = st.integers(1, 3 * FRAME)
STEPS = st.one_of(
    st.tuples(st.just("send"), st.sampled_from(CALLS), SIZES),
    st.tuples(st.just("credit"), st.sampled_from((0, *CALLS)), SIZES),
    st.tuples(st.just("resize"), st.just(0), SIZES),
    st.tuples(st.just("frames"), st.just(0), st.integers(FRAME, 4 * FRAME)),
)


class WindowAccount(Peer):
    """A client that counts."""

    def __init__(self) -> None:
        super().__init__()
        self.largest = FRAME
        self.initial = (1 << 16) - 1
        self.window = Counter({0: self.initial, **dict.fromkeys(CALLS, self.initial)})
        self.readers = {number: MessageReader(1 << 20) for number in CALLS}
        self.read: dict[int, list[bytes]] = {number: [] for number in CALLS}
        for number in CALLS:
            self.open(number)

    def do(self, what: str, number: int, amount: int) -> None:
        if what == "send":
            self.server.send(number, b"x" * amount)
            self.read_answers(b"")
        elif what == "credit":
            self.window[number] += amount
            self.read_answers(credit(number, amount))
        elif what == "resize":
            for call in CALLS:
                self.window[call] += amount - self.initial
            self.initial = amount
            self.read_answers(setting(4, amount))
        else:
            self.largest = amount
            self.read_answers(setting(5, amount))

    def read_answers(self, data: bytes) -> None:
        for kind, _, number, payload in self.send(data):
            if kind == DATA:
                assert 0 < len(payload) <= min(self.largest, self.window[0], self.window[number])
                self.window.subtract({0: len(payload), number: len(payload)})
                self.read[number] += self.readers[number].feed(payload)


@settings(deadline=None)
@given(st.lists(STEPS, max_size=30))
def test_no_more_is_sent_than_the_client_takes_in_and_in_the_end_all(steps: list[tuple[str, int, int]]) -> None:
    client = WindowAccount()
    for step in steps:
        client.do(*step)
    for number in (0, *CALLS):
        client.do("credit", number, 1 << 22)
    sent = {number: [size for what, to, size in steps if (what, to) == ("send", number)] for number in CALLS}
    assert {number: [len(message) for message in client.read[number]] for number in CALLS} == sent


def test_headers_are_remembered_as_far_as_the_client_allows() -> None:
    """The first block after it says how much that is (RFC 7541, 6.3); what it may not remember is never referred to."""
    peer = Peer()
    peer.send(setting(1, 0))
    blocks = []
    for number in (1, 3):
        peer.open(number)
        peer.server.finish(number)
        blocks += [payload for kind, _, _, payload in peer.send(b"") if kind == HEADERS]
    assert blocks[0].removeprefix(b"\x20") == blocks[1]


def test_any_number_of_changes_of_the_table_of_headers_take_two_updates() -> None:
    """RFC 7541, 4.2: only the smallest and the last size count."""
    peer = Peer()
    peer.send(b"".join(setting(1, size) for _ in range(2000) for size in (4096, 0, 100)))
    peer.open(1)
    peer.server.finish(1)
    block = next(payload for kind, _, _, payload in peer.send(b"") if kind == HEADERS)
    assert block.startswith(b"\x20\x3f\x45"), "to 0, and to 100"
    assert len(block) < 100


def test_an_equal_size_of_the_table_is_still_sent_once() -> None:
    peer = Peer()
    peer.send(setting(1, 100) + setting(1, 100))
    peer.open(1)
    peer.server.finish(1)
    block = next(payload for kind, _, _, payload in peer.send(b"") if kind == HEADERS)
    assert block.startswith(b"\x3f\x45")


def test_a_reset_takes_back_what_waits() -> None:
    peer = Peer()
    peer.send(setting(4, 0))
    peer.open(1)
    peer.server.send(1, b"x")
    peer.send(frame(RESET, 0, 1, b"\0\0\0\x08"))
    assert [kind for kind, *_ in peer.send(credit(0, 100))] == []
    assert peer.server.is_idle
