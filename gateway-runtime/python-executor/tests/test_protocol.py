"""Conversations, byte for byte, between h2 as a client and the server's side of a connection. No socket."""

import pytest
from gatewright_executor.grpc.message_framing import MessageReader, frame_message
from gatewright_executor.grpc.protocol import (
    WINDOW_UPDATE_BYTES,
    Aborted,
    CallStarted,
    ConnectionLost,
    Event,
    GrpcConnection,
    HalfClosed,
    Message,
    Status,
)
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
    WindowUpdated,
)
from h2.events import Event as Http2Event
from h2.settings import SettingCodes
from hypothesis import given, settings
from hypothesis import strategies as st

LIMIT = 1 << 20
REQUEST = {
    ":method": "POST",
    ":scheme": "http",
    ":path": "/p.Service/Method",
    ":authority": "localhost",
    "content-type": "application/grpc",
    "te": "trailers",
}


class Conversation:
    """A client and the server's side: what one sends, the other receives at once."""

    def __init__(self, window: int | None = None) -> None:
        self.client = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        self.server = GrpcConnection(LIMIT)
        self.events: list[Event] = []
        self.answered: list[Http2Event] = []
        self.client.initiate_connection()
        if window is not None:
            self.client.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: window})
        self.talk()

    def begin(self, call: int = 1, **headers: str) -> None:
        self.client.send_headers(call, [*{**REQUEST, **{f":{k}": v for k, v in headers.items()}}.items()])
        self.talk()

    def send(self, data: bytes, call: int = 1, *, last: bool = False) -> None:
        size = self.client.max_outbound_frame_size
        for start in range(0, len(data) or 1, size):
            self.client.send_data(call, data[start : start + size], end_stream=last and start + size >= len(data))
            self.talk()

    def talk(self) -> None:
        while data := self.client.data_to_send():
            self.events += self.server.receive(data)
            self.answer()

    def answer(self) -> None:
        """Passes the server's output to the client, and what the client sends for it back."""
        while data := self.server.outgoing():
            for event in self.client.receive_data(data):
                self.answered.append(event)
                if isinstance(event, DataReceived) and event.flow_controlled_length:
                    self.client.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            if more := self.client.data_to_send():
                self.events += self.server.receive(more)

    def messages(self, call: int = 1) -> list[bytes]:
        reader = MessageReader(LIMIT)
        pieces = [e.data for e in self.answered if isinstance(e, DataReceived) and e.stream_id == call]
        return [message for piece in pieces for message in reader.feed(piece)]

    def trailers(self, call: int = 1) -> dict[str, str]:
        for event in reversed(self.answered):
            if isinstance(event, TrailersReceived | ResponseReceived) and event.stream_id == call:
                return {str(name): str(value) for name, value in event.headers}
        return {}

    def ended(self, call: int = 1) -> bool:
        return any(isinstance(event, StreamEnded) and event.stream_id == call for event in self.answered)


def test_a_call_both_ways() -> None:
    talk = Conversation()
    talk.begin()
    talk.send(frame_message(b"one"))
    talk.server.send(1, b"first answer")
    talk.answer()
    talk.send(frame_message(b"two"), last=True)
    talk.server.send(1, b"second answer")
    talk.server.finish(1)
    talk.answer()
    assert talk.events == [CallStarted(1, "/p.Service/Method"), Message(1, b"one"), Message(1, b"two"), HalfClosed(1)]
    assert talk.messages() == [b"first answer", b"second answer"]
    assert talk.trailers() == {"grpc-status": "0"}
    assert talk.ended()
    assert talk.server.is_idle


def test_a_message_in_many_frames_and_many_messages_in_one() -> None:
    talk = Conversation()
    talk.begin()
    talk.send(frame_message(b"x" * 100_000) + frame_message(b"") + frame_message(b"y"))
    assert talk.events[1:] == [Message(1, b"x" * 100_000), Message(1, b""), Message(1, b"y")]


@settings(deadline=None)
@given(st.lists(st.integers(0, 5000), min_size=1, max_size=5), st.integers(1, 200))
def test_bytes_may_be_cut_anywhere(sizes: list[int], step: int) -> None:
    talk = Conversation()
    talk.begin()
    for size in sizes:
        talk.client.send_data(1, frame_message(b"x" * size))
    data, events = talk.client.data_to_send(), list[Event]()
    for start in range(0, len(data), step):
        events += talk.server.receive(data[start : start + step])
    assert events == [Message(1, b"x" * size) for size in sizes]


def test_an_answer_waits_for_the_clients_window() -> None:
    talk = Conversation(window=1000)
    talk.begin()
    talk.server.send(1, b"z" * 10_000)
    talk.server.finish(1)
    answer = talk.server.outgoing()
    assert 1000 < len(answer) < 1200
    talk.answered += talk.client.receive_data(answer)
    talk.client.increment_flow_control_window(20_000, 1)
    talk.talk()
    assert talk.trailers() == {"grpc-status": "0"}
    assert talk.ended()


def test_an_answer_larger_than_all_windows_arrives_as_they_open() -> None:
    talk = Conversation()
    talk.begin()
    talk.server.send(1, b"z" * 500_000)
    talk.server.finish(1)
    talk.answer()
    assert talk.messages() == [b"z" * 500_000]
    assert talk.ended()


def test_padding_is_given_back_with_the_data() -> None:
    """A window counts whole DATA frames (RFC 9113, 6.9.1): without their padding it would run dry."""
    data, padding = frame_message(b"x" * 15_000), 255
    size = len(data) + padding + 1  # the byte with the length of the padding
    frames = -(-WINDOW_UPDATE_BYTES // size)
    talk = Conversation()
    talk.begin()
    talk.answered.clear()
    for _ in range(frames):
        talk.client.send_data(1, data, pad_length=padding)
        talk.talk()
    updates = [(event.stream_id, event.delta) for event in talk.answered if isinstance(event, WindowUpdated)]
    assert updates == [(0, frames * size), (1, frames * size)]


def test_a_status_without_an_answer() -> None:
    talk = Conversation()
    talk.begin()
    talk.server.finish(1, Status.UNIMPLEMENTED, "expected é, 100 %\n")
    talk.answer()
    wanted = {":status": "200", "content-type": "application/grpc", "grpc-status": "12"}
    assert talk.trailers() == {**wanted, "grpc-message": "expected %C3%A9, 100 %25%0A"}
    assert any(isinstance(event, StreamReset) for event in talk.answered), (
        "the client gets a reset: it is to send no more"
    )


def test_too_large_a_message_ends_its_call_and_no_other() -> None:
    talk = Conversation()
    talk.begin()
    talk.begin(3)
    talk.send(frame_message(b"x" * (LIMIT + 1))[:100])
    talk.send(frame_message(b"still here"), 3)
    assert talk.events[2:] == [Aborted(1), Message(3, b"still here")]
    assert talk.trailers()["grpc-status"] == "8"


def test_a_message_that_is_not_whole_at_the_end() -> None:
    talk = Conversation()
    talk.begin()
    talk.send(frame_message(b"abc")[:6], last=True)
    assert talk.events[-1] == Aborted(1)
    assert talk.trailers()["grpc-status"] == "13"


def test_a_compressed_message() -> None:
    talk = Conversation()
    talk.begin()
    talk.send(b"\1\0\0\0\0")
    assert talk.events[1:] == [Aborted(1)]
    assert talk.trailers()["grpc-status"] == "12"


def test_a_client_that_resets_its_call() -> None:
    talk = Conversation()
    talk.begin()
    talk.server.send(1, b"answer")
    talk.client.reset_stream(1)
    talk.talk()
    assert talk.events[-1] == Aborted(1)
    talk.server.send(1, b"too late")
    talk.server.finish(1)
    talk.answer()
    assert talk.server.is_idle


@pytest.mark.parametrize("headers", [{":method": "GET"}, {"content-type": "text/plain"}])
def test_what_is_no_grpc(headers: dict[str, str]) -> None:
    talk = Conversation()
    talk.client.send_headers(1, [*{**REQUEST, **headers}.items()])
    talk.talk()
    assert talk.events == []
    assert talk.trailers() == {":status": "415"}


def test_going_away_finishes_what_has_begun_and_refuses_the_rest() -> None:
    talk = Conversation()
    talk.begin()
    talk.server.go_away()
    talk.server.go_away()
    goodbye = talk.server.outgoing()
    raw = H2Connection(H2Configuration(client_side=True))
    raw.initiate_connection()
    raw.send_headers(1, [*REQUEST.items()])
    (gone,) = (event for event in raw.receive_data(goodbye) if isinstance(event, ConnectionTerminated))
    assert (gone.error_code, gone.last_stream_id) == (0, 1)
    talk.begin(3)
    talk.send(frame_message(b"one"), last=True)
    assert talk.events == [CallStarted(1, "/p.Service/Method"), Message(1, b"one"), HalfClosed(1)]
    assert any(isinstance(event, StreamReset) and event.stream_id == 3 for event in talk.answered)
    talk.server.send(1, b"answer")
    talk.server.finish(1)
    talk.answer()
    assert (talk.messages(), talk.trailers()) == ([b"answer"], {"grpc-status": "0"})


def test_a_ping_is_answered() -> None:
    talk = Conversation()
    talk.client.ping(b"01234567")
    talk.talk()
    assert any(type(event).__name__ == "PingAckReceived" for event in talk.answered)


def test_what_is_no_http2_ends_the_connection() -> None:
    server = GrpcConnection(LIMIT)
    assert server.receive(b"GET / HTTP/1.1\r\n\r\n" * 10) == [ConnectionLost()]


def test_a_client_that_goes_away() -> None:
    talk = Conversation()
    talk.begin()
    talk.client.close_connection()
    talk.talk()
    assert talk.events[-1] == ConnectionLost()
