"""Over a real socket: clients that read nothing, that leave, and that call an unknown method."""

import contextlib
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from gatewright_executor._gen import python_executor_pb2 as pb
from gatewright_executor.grpc.connection import Connection, ResponseWriter
from gatewright_executor.replacement import ReplacementNeeded
from gatewright_executor.running.dispatch import Dispatcher
from gatewright_executor.running.inline_runner import InlineRunner
from gatewright_executor.server import MAX_MESSAGE_BYTES, SERVICE
from gatewright_executor.session.reading_loop import ReadingLoop
from gatewright_executor.testing import Engine, eventually, request_execution
from h2.config import H2Configuration
from h2.connection import H2Connection

REQUEST = {
    ":method": "POST",
    ":scheme": "http",
    ":path": "/p.Service/Method",
    ":authority": "localhost",
    "content-type": "application/grpc",
}


class Quiet:
    """A call that the test answers."""

    def __init__(self, writer: ResponseWriter, begun: threading.Event) -> None:
        self.writer, self.gone = writer, threading.Event()
        begun.set()

    def message(self, _data: bytes) -> None: ...

    def half_closed(self) -> None: ...

    def aborted(self) -> None:
        self.gone.set()


class Talk:
    """A connection with one call on it, and its client."""

    def __init__(self, kind: type[Connection] = Connection) -> None:
        ours, self.socket = socket.socketpair(socket.AF_UNIX)
        calls, begun, self.left = list[Quiet](), threading.Event(), threading.Event()

        def serve(writer: ResponseWriter, _runner: InlineRunner) -> Quiet:
            calls.append(Quiet(writer, begun))
            return calls[0]

        self.connection = kind(ours, 1 << 20, lambda _: self.left.set())
        self.connection.open()
        loop = ReadingLoop(self.connection, {"/p.Service/Method": serve}, Dispatcher(1))
        threading.Thread(target=loop.run, daemon=True).start()
        self.client = H2Connection(H2Configuration(client_side=True))
        self.client.initiate_connection()
        self.client.increment_flow_control_window(1 << 24)
        self.client.update_settings({4: 1 << 24})
        self.client.send_headers(1, [*REQUEST.items()])
        self.socket.sendall(self.client.data_to_send())
        assert begun.wait(30)
        self.call = calls[0]


def test_a_client_that_reads_nothing_holds_no_writer_up() -> None:
    talk = Talk()
    for _ in range(64):
        talk.call.writer.send(b"x" * (64 << 10))  # more than the socket holds
    talk.call.writer.finish()
    assert not talk.connection.await_idle(0.01)
    received, ended = 0, False
    while not ended:
        for event in talk.client.receive_data(talk.socket.recv(1 << 16)):
            received += len(getattr(event, "data", None) or b"")
            ended = ended or type(event).__name__ == "StreamEnded"
    assert received == 64 * ((64 << 10) + 5)
    assert talk.connection.await_idle(10)
    talk.socket.close()
    assert talk.left.wait(30)


def test_what_a_socket_accepts_arrives() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    with ours, theirs:
        assert Connection(ours, 1 << 20, lambda _: None)._send_now(b"a\0b") == 3
        assert theirs.recv(16) == b"a\0b"


def test_a_full_socket_accepts_a_part_and_then_nothing() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    with ours, theirs:
        connection, sent = Connection(ours, 1 << 20, lambda _: None), 0
        while now := connection._send_now(b"x" * (1 << 20)):
            sent += now
        assert sent > 0
        while sent:
            sent -= len(theirs.recv(1 << 20))
        assert connection._send_now(b"x") == 1


def test_all_that_is_sent_to_a_client_that_has_left_is_dropped() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    theirs.close()
    connection = Connection(ours, 1 << 20, lambda _: None)
    with ours:
        assert connection._send_now(b"xyz") == 3
    assert connection._send_now(b"xyz") == 3, "nor does one that is closed here stop a writer"


def test_a_client_that_asks_and_never_reads_is_cut_off() -> None:
    talk = Talk()
    talk.client.ping(b"12345678")
    pings = talk.client.data_to_send() * 1_000_000
    with pytest.raises(OSError, match=r"Broken pipe|reset"):
        talk.socket.sendall(pings)
    assert talk.left.wait(30)
    talk.socket.close()


@pytest.mark.parametrize("sent_at_once", [True, False])
def test_a_connection_on_which_a_part_could_not_be_sent_ends(needed: ReplacementNeeded, sent_at_once: bool) -> None:
    here, fails = threading.current_thread(), threading.Event()

    class Failing(Connection):
        def _send_now(self, data: bytes) -> int:
            if not fails.is_set():
                return super()._send_now(data)
            if sent_at_once or threading.current_thread() is not here:
                raise MemoryError
            return 0  # the socket is full: another thread drains

    talk = Talk(Failing)
    fails.set()
    with pytest.raises(MemoryError) if sent_at_once else contextlib.nullcontext():
        talk.call.writer.send(b"x")
    assert talk.left.wait(30)
    assert talk.call.gone.wait(30)
    assert sent_at_once or eventually(lambda: needed.thread_failed)
    talk.socket.close()


def test_an_unknown_method(serve: Callable[..., Path]) -> None:
    with grpc.insecure_channel(f"unix:{serve(add='def on_request(ctx, params): pass')}") as channel:
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(f"/{SERVICE}/Nothing")
        with pytest.raises(grpc.RpcError) as caught:
            call(b"", timeout=30)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert f"/{SERVICE}/HealthCheck" in str(caught.value.details())


def test_a_frame_over_the_limit_ends_the_stream(serve: Callable[..., Path]) -> None:
    with Engine(serve(add="def on_request(ctx, params): pass")) as engine:
        engine.configure(1, "add:v1.0.0")
        execution = request_execution(1)
        execution.request_body = b"x" * MAX_MESSAGE_BYTES
        unlimited: list[tuple[str, int]] = [("grpc.max_send_message_length", -1)]
        with grpc.insecure_channel(engine.address, options=unlimited) as channel:
            raw: grpc.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(f"/{SERVICE}/ExecuteStream")
            with pytest.raises(grpc.RpcError) as caught:
                [*raw(iter([pb.RequestFrame(executions=[execution]).SerializeToString()]))]
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert engine.execute(request_execution(2)).id == 2, "the other streams live on"
