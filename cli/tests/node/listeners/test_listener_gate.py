from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from gatewright_cli.addresses import join_address
from gatewright_cli.node.listeners.listener_gate import ListenerGate, accept_queues
from gatewright_cli.node.listeners.ports import free_port


@contextmanager
def listening(host: str, port: int, count: int) -> Iterator[list[socket.socket]]:
    """As Envoy's workers listen: each on a socket of its own."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sockets = [socket.socket(family, socket.SOCK_STREAM) for _ in range(count)]
    try:
        for listener in sockets:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            listener.bind((host, port))
            listener.listen(64)
        yield sockets
    finally:
        for listener in sockets:
            listener.close()


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
def test_accepted_connections_are_served_and_new_ones_wait(host: str, workers: int) -> None:
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
            for listener in theirs:
                serve(listener)
            await asyncio.wait_for(waiting, 60.0)
            waiting = asyncio.create_task(gate.until_gone())
            await asyncio.wait({waiting}, timeout=0.1)
            assert not waiting.done()
            for listener in theirs:
                listener.close()
            await asyncio.wait_for(waiting, 60.0)
            gate.close()
            client.close()

    asyncio.run(live())


def test_a_listener_without_reuseport_is_left_alone() -> None:
    host, port = "127.0.0.1", free_port("127.0.0.1")
    with socket.create_server((host, port)) as alone:
        gate = ListenerGate(join_address(host, port))
        with pytest.raises(OSError, match="in use"):
            gate.shut()
        connected(host, port).close()
        alone.accept()[0].close()
