from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import stat
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
from gatewright_controller.local.peers import PeerCheck, Rule
from gatewright_controller.local.relay import Relay, Unnamed

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]


async def echo(path: Path, greeting: bytes = b"") -> asyncio.Server:
    """Answers, after the greeting, with what came, once all has come."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting + await reader.read())
        await writer.drain()
        writer.close()

    return await asyncio.start_unix_server(talk, str(path))


async def ask(path: Path, data: bytes) -> bytes:
    """The answer; empty if the connection is cut off."""
    reader, writer = await asyncio.open_unix_connection(str(path))
    answer = b""
    with contextlib.suppress(OSError):
        writer.write(data)
        writer.write_eof()
        answer = await reader.read()
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return answer


class Place:
    def __init__(self, folder: Path) -> None:
        self.front, self.own = folder / "front", folder / "own"
        self.pids: Mapping[str, int] = {"supervisor": os.getpid()}
        self.warned: list[tuple[str, int, str]] = []
        rule = Rule(lambda: self.pids, ("supervisor",))
        check = PeerCheck(rule, self.front, lambda *warning: self.warned.append(warning))
        self.relay = Relay(self.front, Unnamed(self.own), check)


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    made = Place(tmp_path)
    await made.relay.start()
    yield made
    await made.relay.close()
    assert not made.front.exists()


async def test_bytes_pass_both_ways_and_ends_do_too(place: Place) -> None:
    server, many = await echo(place.own), os.urandom(3_000_000)
    assert await ask(place.front, many) == many
    assert stat.S_IMODE(place.front.stat().st_mode) == 0o600
    server.close()


async def test_the_server_behind_has_no_name_and_may_start_again(place: Place) -> None:
    first = await echo(place.own, b"one ")
    assert await ask(place.front, b"hi") == b"one hi"
    assert not place.own.exists()
    first.close()
    await first.wait_closed()
    assert await ask(place.front, b"hi") == b""
    second = await echo(place.own, b"two ")
    assert await ask(place.front, b"hi") == b"two hi"
    assert not place.own.exists()
    second.close()


async def test_two_relays_exchange_their_servers(place: Place, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Place(tmp_path / "other")
    await other.relay.start()
    servers = [await echo(place.own, b"one "), await echo(other.own, b"two ")]
    assert await ask(place.front, b"hi") == b"one hi"
    place.relay.exchange(other.relay)
    assert [await ask(front, b"hi") for front in (place.front, other.front)] == [b"two hi", b"one hi"]
    await other.relay.close()
    assert await ask(place.front, b"hi") == b"two hi"
    for server in servers:
        server.close()


async def test_a_server_that_does_not_listen_yet_keeps_its_name(place: Place) -> None:
    """Envoy binds its socket, sets the file's mode, and listens then: without the file it would not start."""
    made = socket.socket(socket.AF_UNIX)
    made.bind(str(place.own))
    assert await ask(place.front, b"hi") == b""
    place.own.chmod(0o600)
    made.listen()
    reading, writing = await asyncio.open_unix_connection(str(place.front))
    writing.write(b"hi")
    made.setblocking(False)
    accepted, _ = await asyncio.get_running_loop().sock_accept(made)
    assert await asyncio.get_running_loop().sock_recv(accepted, 2) == b"hi"
    assert not place.own.exists()
    accepted.close()
    made.close()
    assert await reading.read() == b""
    writing.close()


async def test_a_refused_process_gets_no_byte_and_is_logged_once(place: Place) -> None:
    server = await echo(place.own)
    place.pids = {"supervisor": os.getppid()}  # this process is below it
    assert await asyncio.gather(*(ask(place.front, b"hi") for _ in range(5))) == [b""] * 5
    assert [warning[:2] for warning in place.warned] == [(str(place.front), os.getpid())]
    server.close()


async def test_without_a_server_behind_it_connections_are_closed(place: Place) -> None:
    assert await ask(place.front, b"hi") == b""
