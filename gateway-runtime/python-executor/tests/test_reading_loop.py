"""Which thread serves the messages of a connection, and until when."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest
from gatewright_executor.grpc.connection import Connection, ResponseWriter
from gatewright_executor.grpc.message_framing import frame_message
from gatewright_executor.running.dispatch import Dispatcher
from gatewright_executor.running.inline_runner import InlineRunner
from gatewright_executor.session.reading_loop import ReadingLoop
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ResponseReceived, TrailersReceived

PATH = "/p.Service/Method"


class Served:
    """A call: what it receives, in which threads. Each message is answered, the end too."""

    def __init__(self, writer: ResponseWriter, runner: InlineRunner, received: list[str]) -> None:
        self._writer, self._runner, self._received = writer, runner, received
        self.threads: list[int] = []

    def message(self, data: bytes) -> None:
        self.threads.append(threading.get_ident())
        self._received.append(data.decode())
        if data == b"fails":
            raise MemoryError
        if data == b"stalls":
            self._runner.term += 1  # as the watchdog does
        self._writer.send(data)

    def half_closed(self) -> None:
        self._received.append("half closed")
        self._writer.finish()

    def aborted(self) -> None:
        self._received.append("aborted")


class Talk:
    """A client, and a loop that the test runs in its own thread until the client leaves or another thread leads."""

    def __init__(self) -> None:
        ours, self.socket = socket.socketpair(socket.AF_UNIX)
        self.received: list[str] = []
        self.calls: list[Served] = []
        self.lost: list[Connection] = []
        self.kept = 0
        """Calls that the loop knew when the connection was lost."""
        self.dispatcher = Dispatcher(1)
        self.connection = Connection(ours, 1 << 20, self._lose)
        self.loop = ReadingLoop(self.connection, {PATH: self._serve}, self.dispatcher)
        self.client = H2Connection(H2Configuration(client_side=True))
        self.client.initiate_connection()
        self.connection.open()

    def __enter__(self) -> Talk:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def _lose(self, connection: Connection) -> None:
        self.lost.append(connection)
        self.kept = len(self.loop._calls)

    def _serve(self, writer: ResponseWriter, runner: InlineRunner) -> Served:
        self.calls.append(Served(writer, runner, self.received))
        return self.calls[-1]

    def start(self, stream_id: int, path: str = PATH) -> None:
        self.client.send_headers(stream_id, [
            (":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "localhost"),
            ("content-type", "application/grpc"),
        ])  # fmt: skip

    def send(self, stream_id: int, *messages: bytes, last: bool = False) -> None:
        self.client.send_data(stream_id, b"".join(map(frame_message, messages)), end_stream=last)

    def leave(self) -> None:
        """Closes the connection after all that was sent."""
        self.socket.sendall(self.client.data_to_send())
        self.socket.shutdown(socket.SHUT_WR)

    def answered(self) -> dict[str, str]:
        """Headers and trailers of all answers together."""
        found: dict[str, str] = {}
        while data := self.socket.recv(1 << 16):
            for event in self.client.receive_data(data):
                if isinstance(event, ResponseReceived | TrailersReceived):
                    found |= {key.decode(): value.decode() for key, value in event.headers}
        return found


@pytest.fixture
def talk() -> Iterator[Talk]:
    with Talk() as talk:
        yield talk


def test_messages_reach_their_calls_in_order(talk: Talk) -> None:
    talk.start(1)
    talk.start(3)
    talk.send(1, b"one", b"two")
    talk.send(3, b"three")
    talk.send(1, b"four", last=True)
    talk.leave()
    talk.loop.run()
    assert talk.received[:5] == ["one", "two", "three", "four", "half closed"]
    assert set(talk.received[5:]) == {"aborted"}, "the other call ends with the connection"
    assert talk.lost == [talk.connection]
    assert talk.dispatcher.watchdog.workers != []


def test_an_unknown_method(talk: Talk) -> None:
    talk.start(1, "/p.Service/Other")
    talk.leave()
    talk.loop.run()
    answered = talk.answered()
    assert answered["grpc-status"] == "12"
    assert answered["grpc-message"] == f"expected one of {PATH}, got /p.Service/Other"


def test_calls_that_have_ended_are_forgotten(talk: Talk) -> None:
    """A health check each second is one call each second, on one connection."""
    for stream_id in range(1, 101, 2):
        talk.start(stream_id)
        talk.send(stream_id, b"x", last=True)
    talk.start(101)
    talk.leave()
    talk.loop.run()
    assert len(talk.calls) == 51
    assert talk.kept == 1


@pytest.mark.parametrize("how", ["reset", "go away"])
def test_a_reset_reaches_its_call_behind_a_new_call_too(talk: Talk, how: str) -> None:
    """Both come in one read: when the loop serves the new call, the end of the first has already been read."""
    talk.start(1)
    talk.send(1, b"one")
    talk.start(3)
    if how == "reset":
        talk.client.reset_stream(1)
    else:
        talk.client.close_connection()
    talk.leave()
    talk.loop.run()
    assert talk.received.count("aborted") == 2, "both calls have ended"
    assert talk.calls[0]._received.index("one") < talk.received.index("aborted")


def test_a_thread_that_no_longer_leads_leaves_the_rest_to_the_next(talk: Talk) -> None:
    talk.start(1)
    talk.send(1, b"one", b"stalls", b"two")
    talk.leave()
    talk.loop.run()
    assert (talk.received, talk.lost) == (["one", "stalls"], []), "it reads no more, and ends nothing"
    following = threading.Thread(target=talk.loop.run, args=(1,), daemon=True)
    following.start()
    following.join(10)
    assert talk.received == ["one", "stalls", "two", "aborted"]
    here = threading.get_ident()
    assert [thread == here for thread in talk.calls[0].threads] == [True, True, False]


def test_a_call_that_fails_ends_the_connection(talk: Talk) -> None:
    talk.start(1)
    talk.send(1, b"fails", b"unread")
    talk.leave()
    with pytest.raises(MemoryError):
        talk.loop.run()
    assert talk.received == ["fails", "aborted"]
    assert talk.lost == [talk.connection]


def test_its_runner_is_watched_as_long_as_the_connection_is_there(talk: Talk) -> None:
    watched = talk.dispatcher.watchdog._runners
    assert len(watched) == 1
    talk.leave()
    talk.loop.run()
    assert watched == set()
