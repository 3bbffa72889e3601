from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Mapping
from pathlib import Path

import pytest
from gatewright_controller.local.peers import PeerCheck, Rule
from gatewright_controller.local.private_socket import PrivateSocket, Serve

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]
MUCH = bytes(16 * 1024 * 1024)
"""More than the kernel and a stream buffer for a reader that does not read."""


def private_socket(path: Path, serve: Serve, pids: Mapping[str, int] | None = None) -> PrivateSocket:
    known = {"supervisor": os.getpid()} if pids is None else pids
    return PrivateSocket(path, PeerCheck(Rule(lambda: known, ("supervisor",)), path, lambda *_: None), serve)


async def test_only_its_user_may_open_it_and_it_goes_with_its_server(tmp_path: Path) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readline())

    socket = private_socket(tmp_path / "s", serve)
    await socket.start()
    assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == 0o600
    reader, writer = await asyncio.open_unix_connection(str(tmp_path / "s"))
    writer.write(b"one\n")
    assert await reader.read() == b"one\n"
    writer.close()
    await socket.close()
    assert not (tmp_path / "s").exists()


async def test_a_process_that_is_not_admitted_is_not_served(tmp_path: Path) -> None:
    served = []

    async def serve(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        served.append(True)

    socket = private_socket(tmp_path / "s", serve, {})
    await socket.start()
    reader, writer = await asyncio.open_unix_connection(str(tmp_path / "s"))
    assert await reader.read() == b""
    writer.close()
    await socket.close()
    assert served == []


async def test_a_reader_that_does_not_read_delays_no_close(tmp_path: Path) -> None:
    writing = asyncio.Event()

    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(MUCH)
        writing.set()
        await writer.drain()

    socket = private_socket(tmp_path / "s", serve)
    await socket.start()
    _, writer = await asyncio.open_unix_connection(str(tmp_path / "s"), limit=1024)
    await writing.wait()
    await socket.close()
    writer.close()


async def test_a_client_that_goes_in_the_middle_is_no_failure(
    tmp_path: Path, recwarn: pytest.WarningsRecorder, caplog: pytest.LogCaptureFixture
) -> None:
    over = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        try:
            while True:
                writer.write(b"x" * 65536)
                await writer.drain()
        finally:
            over.set()

    socket = private_socket(tmp_path / "s", serve)
    await socket.start()
    _, writer = await asyncio.open_unix_connection(str(tmp_path / "s"))
    writer.write(b"go\n")
    await writer.drain()
    writer.transport.abort()
    await over.wait()
    await socket.close()
    assert (list(recwarn), caplog.records) == ([], [])
