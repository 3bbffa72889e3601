from __future__ import annotations

import asyncio
import socket
from collections import Counter

import pytest
from gatewright_cli.addresses import join_address
from gatewright_cli.node.listeners.listener_gate import accept_queues
from gatewright_cli.node.listeners.listener_handover import ListenerHandover
from gatewright_cli.node.listeners.ports import free_port

from cli.tests.node.listeners.test_listener_gate import connected, listening, serve

CONNECTIONS = 40
HANDED = 60.0


@pytest.fixture(params=["127.0.0.1", "::1"])
def host(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def connect_many(host: str, port: int) -> None:
    for _ in range(CONNECTIONS):
        connected(host, port).close()


def accept_all(listeners: list[socket.socket]) -> int:
    """How many connections wait there."""
    count = 0
    for listener in listeners:
        listener.setblocking(False)
        while True:
            try:
                listener.accept()[0].close()
            except BlockingIOError:
                break
            count += 1
    return count


@pytest.mark.parametrize(("workers", "others"), [(1, 1), (2, 2), (5, 5), (2, 5)])
def test_connections_go_to_the_first_process_and_then_to_the_second(host: str, workers: int, others: int) -> None:
    port = free_port(host)
    handover = ListenerHandover(join_address(host, port))
    with listening(host, port, workers) as first:
        handover.keep()
        with listening(host, port, others) as second:
            connect_many(host, port)
            assert (accept_all(first), accept_all(second)) == (CONNECTIONS, 0)
            handover.pass_on()
            for listener in first:  # however many are left of the first
                connect_many(host, port)
                assert (accept_all(first), accept_all(second)) == (0, CONNECTIONS)
                listener.close()
                first = first[1:]
            connect_many(host, port)
            assert accept_all(second) == CONNECTIONS
            handover.close()
            connect_many(host, port)
            assert accept_all(second) == CONNECTIONS
            spread = Counter[int]()
            while len(spread) < others:  # over all of them
                connected(host, port).close()
                spread.update(number for number, listener in enumerate(second) if accept_all([listener]))


def test_it_waits_for_the_first_process_alone() -> None:
    async def live() -> None:
        host, port = "127.0.0.1", free_port("127.0.0.1")
        handover = ListenerHandover(join_address(host, port))
        with listening(host, port, 2) as first:
            handover.keep()
            clients = [connected(host, port)]
            with listening(host, port, 2):
                handover.pass_on()
                clients.append(connected(host, port))
                waiting = asyncio.create_task(handover.until_accepted())
                await asyncio.wait({waiting}, timeout=0.5)
                assert not waiting.done()
                for listener in first:
                    serve(listener)
                await asyncio.wait_for(waiting, HANDED)
                waiting = asyncio.create_task(handover.until_gone())
                await asyncio.wait({waiting}, timeout=0.1)
                assert not waiting.done()
                for listener in first:
                    listener.close()
                await asyncio.wait_for(waiting, HANDED)
                handover.close()
                assert sum(accept_queues(join_address(host, port))) == 1
            for client in clients:
                client.close()

    asyncio.run(live())


def test_a_second_process_that_never_listens_leaves_all_as_it_was() -> None:
    host, port = "127.0.0.1", free_port("127.0.0.1")
    handover = ListenerHandover(join_address(host, port))
    with listening(host, port, 2) as first:
        handover.keep()
        handover.pass_on()
        connect_many(host, port)
        handover.close()
        connect_many(host, port)
        assert accept_all(first) == 2 * CONNECTIONS


def test_a_first_process_that_has_ended_and_started_again_gets_no_connections() -> None:
    host, port = "127.0.0.1", free_port("127.0.0.1")
    handover = ListenerHandover(join_address(host, port))
    with listening(host, port, 2) as first:
        handover.keep()
        with listening(host, port, 2) as second:
            for listener in first:
                listener.close()
            with listening(host, port, 2) as again:
                handover.pass_on()
                connect_many(host, port)
                assert (accept_all(second), accept_all(again)) == (CONNECTIONS, 0)
                handover.close()
                assert len(accept_queues(join_address(host, port))) == 4


def test_a_port_without_a_listener_is_left_alone() -> None:
    host, port = "127.0.0.1", free_port("127.0.0.1")
    handover = ListenerHandover(join_address(host, port))
    handover.keep()
    handover.pass_on()
    handover.close()
    with pytest.raises(ConnectionRefusedError):
        connected(host, port)
