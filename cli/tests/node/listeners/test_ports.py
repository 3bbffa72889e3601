from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE, Popen

import pytest
from gatewright_cli.node.listeners.ports import free_port, obstacle


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)  # as Envoy does
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def test_a_taken_port_names_the_process_that_has_it(taken: int) -> None:
    message = obstacle("127.0.0.1", taken)
    assert message is not None
    assert message.startswith(f"port {taken} on 127.0.0.1 is taken (by ")
    assert message.endswith(f", pid {os.getpid()})")


def test_a_free_port_has_no_obstacle() -> None:
    assert obstacle("127.0.0.1", free_port("127.0.0.1")) is None


def test_closed_connections_are_no_obstacle() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port))
        accepted, _ = server.accept()
        accepted.close()  # first: the server's side is the one that waits
        client.close()
    assert obstacle("127.0.0.1", port) is None


def test_an_address_of_another_machine() -> None:
    assert obstacle("192.0.2.1", 8080) == "port 8080 on 192.0.2.1 cannot be opened (Cannot assign requested address)"
    assert free_port("192.0.2.1") == 0


def test_a_free_port_is_one_that_no_outgoing_connection_gets() -> None:
    first_of_clients = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert all(20_000 <= free_port("127.0.0.1") < first_of_clients for _ in range(20))


def test_a_free_port_is_given_to_one_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    """Though nothing listens at it yet."""
    program = "from gatewright_cli.node.listeners.ports import free_port; print(free_port('127.0.0.1')); input()"
    with Popen([sys.executable, "-u", "-c", program], stdin=PIPE, stdout=PIPE, text=True) as other:
        assert other.stdout is not None
        ports = {int(other.stdout.readline()), free_port("127.0.0.1")}
        monkeypatch.setattr("random.sample", lambda *_: ports)
        assert free_port("127.0.0.1") not in ports
        other.communicate("\n")


def test_without_a_free_port_below_those_of_clients_it_is_any(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        monkeypatch.setattr("random.sample", lambda *_: [port])
        assert free_port("127.0.0.1") not in {0, port}


def test_an_address_of_another_machine_has_no_free_port() -> None:
    assert free_port("192.0.2.1") == 0
