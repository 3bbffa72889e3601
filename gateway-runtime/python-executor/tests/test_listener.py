"""Where connections are accepted, and how it ends."""

import os
import socket
import stat
import threading
from pathlib import Path

import pytest
from gatewright_executor.grpc.connection import Connection
from gatewright_executor.grpc.listener import PATH_BYTES, Listener, SocketError
from gatewright_executor.testing import eventually


class Served:
    """What a listener hands its connections to: reads until the client has left, or the listener closes."""

    def __init__(self) -> None:
        self.threads: list[str] = []
        self.ended = 0

    def __call__(self, connection: Connection) -> None:
        self.threads.append(threading.current_thread().name)
        while connection.next_event() is not None:
            pass
        self.ended += 1
        connection.lose()


def connect(path: Path) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    try:
        client.connect(str(path))
    except OSError:
        client.close()
        raise
    return client


def test_each_connection_is_served_in_a_thread_of_its_own(tmp_path: Path) -> None:
    served = Served()
    listener = Listener(served, 1 << 20)
    listener.start(tmp_path / "s.sock")
    assert stat.S_IMODE((tmp_path / "s.sock").stat().st_mode) == 0o600
    with connect(tmp_path / "s.sock") as client, connect(tmp_path / "s.sock"):
        assert eventually(lambda: served.threads == ["connection", "connection"])
        client.close()
        assert eventually(lambda: served.ended == 1)
        listener.go_away()
        listener.close(10)
        assert eventually(lambda: served.ended == 2)
    with pytest.raises(OSError, match="refused"):
        connect(tmp_path / "s.sock")


def test_a_process_that_may_not_connect_is_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    served = Served()
    (tmp_path / "peers.json").write_text("{}")
    listener = Listener(served, 1 << 20, tmp_path / "peers.json")
    listener.start(tmp_path / "s.sock")
    with connect(tmp_path / "s.sock") as client:
        assert client.recv(1) == b""
    assert served.threads == []
    assert caplog.messages == [f"connection refused: pid {os.getpid()}: expected the engine or the supervisor"]
    listener.go_away()


def test_a_socket_without_a_listener_is_replaced(tmp_path: Path) -> None:
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(tmp_path / "s.sock"))
    left.close()
    listener = Listener(Served(), 1 << 20)
    listener.start(tmp_path / "s.sock")
    connect(tmp_path / "s.sock").close()
    with pytest.raises(SocketError, match="another process listens on"):
        Listener(Served(), 1 << 20).start(tmp_path / "s.sock")
    listener.go_away()


def test_where_it_cannot_listen(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    for path, sentence in {
        tmp_path / "file": "found a file; it is left alone",
        tmp_path / "none" / "s.sock": "expected a folder at",
        tmp_path / ("x" * PATH_BYTES): f"expected a socket path of at most {PATH_BYTES} bytes",
    }.items():
        with pytest.raises(SocketError, match=sentence):
            Listener(Served(), 1 << 20).start(path)
    assert (tmp_path / "file").read_text() == "kept"
