from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from gatewright_cli.node.listener_gate import ListenerGate, accept_queues
from gatewright_cli.node.ports import free_port, join_address


@contextmanager
def listening(host: str, port: int, count: int) -> Iterator[list[socket.socket]]:
    """As Envoy's workers listen: each on a socket of its own."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sockets = [socket.socket(family, socket.SOCK_STREAM) for _ in range(count)]
    try:
        for each in sockets:
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            each.bind((host, port))
            each.listen(64)
        yield sockets
    finally:
        for each in sockets:
            each.close()


def connected(host: str, port: int) -> socket.socket:
    return socket.create_connection((host, port), timeout=60.0)


def is_turned_away(host: str, port: int) -> bool:
    """Neither taken nor refused. Long enough to see either, and shorter than the kernel's second try."""
    try:
        socket.create_connection((host, port), timeout=0.1).close()
    except TimeoutError:
        return True
    return False


@pytest.fixture(params=["127.0.0.1", "::1"])
def host(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_who_is_in_is_served_and_nobody_else_gets_in(host: str, workers: int) -> None:
    port = free_port(host)
    gate = ListenerGate(join_address(host, port))
    with listening(host, port, workers) as theirs:
        early = [connected(host, port) for _ in range(10)]
        gate.shut()
        assert is_turned_away(host, port)
        assert sum(accept_queues(join_address(host, port))) == 10
        for worker in theirs:  # after each of them, as shut as before
            serve(worker)
            worker.close()
            assert is_turned_away(host, port)
        gate.close()
        with pytest.raises(ConnectionRefusedError):
            connected(host, port)
    for client in early:
        assert client.recv(5) == b"hello"
        client.close()


def serve(listener: socket.socket) -> None:
    """Accepts all that wait there."""
    listener.setblocking(False)
    while True:
        try:
            client, _ = listener.accept()
        except BlockingIOError:
            return
        client.sendall(b"hello")
        client.close()


def test_it_waits_for_the_queue_and_for_the_listeners() -> None:
    async def live() -> None:
        host, port = "127.0.0.1", free_port("127.0.0.1")
        gate = ListenerGate(join_address(host, port))
        with listening(host, port, 2) as theirs:
            client = connected(host, port)
            gate.shut()
            waiting = asyncio.create_task(gate.until_accepted())
            await asyncio.wait({waiting}, timeout=0.5)
            assert not waiting.done()
            for each in theirs:
                serve(each)
            await asyncio.wait_for(waiting, 60.0)
            waiting = asyncio.create_task(gate.until_gone())
            await asyncio.wait({waiting}, timeout=0.1)
            assert not waiting.done()
            for each in theirs:
                each.close()
            await asyncio.wait_for(waiting, 60.0)
            gate.close()
            client.close()

    asyncio.run(live())


def test_a_listener_that_shares_its_port_with_nobody_stays_as_it_is() -> None:
    host, port = "127.0.0.1", free_port("127.0.0.1")
    with socket.create_server((host, port)) as alone:
        gate = ListenerGate(join_address(host, port))
        with pytest.raises(OSError, match="in use"):
            gate.shut()
        connected(host, port).close()
        alone.accept()[0].close()
