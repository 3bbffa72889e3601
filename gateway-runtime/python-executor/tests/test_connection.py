"""Over a real socket: a client that stands still, one that leaves, one that asks for what there is not."""

import socket
import threading
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from gatewright_executor._gen import python_executor_pb2 as pb
from gatewright_executor.connection import Answer, Connection
from gatewright_executor.server import MAX_MESSAGE_BYTES, SERVICE
from gatewright_executor.testing import Engine, request_execution
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

    def __init__(self, answer: Answer, begun: threading.Event) -> None:
        self.answer, self.gone = answer, threading.Event()
        begun.set()

    def message(self, _data: bytes) -> bool:
        return True

    def half_closed(self) -> None:
        pass

    def aborted(self) -> None:
        self.gone.set()


def test_a_client_that_reads_nothing_holds_no_writer_up() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    calls, begun = list[Quiet](), threading.Event()

    def begin(answer: Answer) -> Quiet:
        calls.append(Quiet(answer, begun))
        return calls[0]

    left = threading.Event()
    connection = Connection(ours, {"/p.Service/Method": begin}, 1 << 20, lambda _: left.set(), lambda: None)
    connection.start()
    client = H2Connection(H2Configuration(client_side=True))
    client.initiate_connection()
    client.increment_flow_control_window(1 << 24)
    client.update_settings({4: 1 << 24})
    client.send_headers(1, [*REQUEST.items()])
    theirs.sendall(client.data_to_send())
    assert begun.wait(10)
    for _ in range(64):
        calls[0].answer.send(b"x" * (64 << 10))  # more than the socket holds
    calls[0].answer.finish()
    assert not connection.await_idle(0.01)
    received, ended = 0, False
    while not ended:
        for event in client.receive_data(theirs.recv(1 << 16)):
            received += len(getattr(event, "data", None) or b"")
            ended = ended or type(event).__name__ == "StreamEnded"
    assert received == 64 * ((64 << 10) + 5)
    assert connection.await_idle(10)
    theirs.close()
    assert left.wait(10)


def test_a_method_that_there_is_not(serve: Callable[..., Path]) -> None:
    with grpc.insecure_channel(f"unix:{serve(add='def on_request(ctx, params): pass')}") as channel:
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(f"/{SERVICE}/Nothing")
        with pytest.raises(grpc.RpcError) as caught:
            call(b"", timeout=10)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert f"/{SERVICE}/HealthCheck" in str(caught.value.details())


def test_a_frame_over_the_limit_ends_the_stream(serve: Callable[..., Path]) -> None:
    with Engine(serve(add="def on_request(ctx, params): pass")) as one:
        one.configure(1, "add:v1.0.0")
        execution = request_execution(1)
        execution.request_body = b"x" * MAX_MESSAGE_BYTES
        unlimited: list[tuple[str, int]] = [("grpc.max_send_message_length", -1)]
        with grpc.insecure_channel(one.address, options=unlimited) as channel:
            raw: grpc.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(f"/{SERVICE}/ExecuteStream")
            with pytest.raises(grpc.RpcError) as caught:
                [*raw(iter([pb.RequestFrame(executions=[execution]).SerializeToString()]))]
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert one.execute(request_execution(2)).id == 2, "the other streams live on"
