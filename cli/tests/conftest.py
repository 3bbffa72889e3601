"""Small real processes, and a node's output that can be read."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from gatewright_cli.main import main
from gatewright_cli.supervision.logs.output import LogOutput
from gatewright_cli.supervision.logs.records import LEVELS, Source
from gatewright_cli.supervision.probes import Accepts
from gatewright_cli.supervision.specs import ProcessSpec


def pytest_addoption(parser: pytest.Parser) -> None:
    with contextlib.suppress(ValueError):  # another component's tests have it too
        parser.addoption("--update", action="store_true", help="rewrite the golden files with what the code makes")


LIMIT_SECONDS = 60.0
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]
NO_MORE_THAN_A_USER = ("setpriv", "--bounding-set=-all", "--inh-caps=-all") if os.geteuid() == 0 else ()
"""Words before a command: they run it as root without capabilities, which has the rights of any user."""

LISTENER = """
import os, signal, socket, sys
path, log = sys.argv[1], sys.argv[2]
name = os.path.basename(path)
def say(what):
    with open(log, "a") as file:
        file.write(what + " " + name + "\\n")
def stop(*_):
    say("stop")
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
say("start")
server = socket.socket(socket.AF_UNIX)
server.bind(path)
say("listen")  # before it does, since a waiting test may stop it at once
server.listen()
while True:
    server.accept()[0].close()
"""


class KeptOutput(LogOutput):
    """A LogOutput that keeps all lines, in order, and writes nothing."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, bytes]] = []
        self._levels = LEVELS

    def relay(self, source: Source, lines: Sequence[bytes]) -> None:
        self.lines += [(source.process, line) for line in lines]

    def text(self) -> str:
        return "\n".join(f"{component}: {line.decode('utf-8', 'backslashreplace')}" for component, line in self.lines)


class Bench:
    """A short folder, real processes that listen on Unix sockets in it, and their actions in order."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.output = KeptOutput()
        self._log = folder / "events"
        self._log.touch()

    def listener(self, name: str, program: str = LISTENER, **settings: Any) -> ProcessSpec:
        """A process that is ready once its program listens on its first argument."""
        socket = self.folder / name
        command = (sys.executable, "-c", program, str(socket), str(self._log))
        return ProcessSpec(name, command, Accepts(path=socket), sockets=(socket,), **settings)

    def events(self) -> list[str]:
        return self._log.read_text().splitlines()

    @staticmethod
    def run(work: Coroutine[Any, Any, None]) -> None:
        """Runs a test's coroutine, bounded."""
        asyncio.run(asyncio.wait_for(work, LIMIT_SECONDS))

    @staticmethod
    @contextlib.asynccontextmanager
    async def serving(path: Path, talk: Talk) -> AsyncIterator[None]:
        """A server on a Unix socket. At its end all connections that it has accepted are closed."""
        conversations = set[asyncio.Task[None]]()

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            conversations.add(task)
            try:
                with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):  # the client disconnected
                    await talk(reader, writer)
            finally:
                writer.close()
                with contextlib.suppress(ConnectionError):
                    await writer.wait_closed()

        async with await asyncio.start_unix_server(accept, path):
            yield
        if conversations:
            await asyncio.wait(conversations)

    @staticmethod
    async def until(condition: Callable[[], object]) -> None:
        while not condition():
            await asyncio.sleep(0.01)

    @staticmethod
    def pass_time(seconds: float) -> None:
        """The timers of the event loop are due so much sooner."""
        loop = asyncio.get_running_loop()
        before = loop.time
        loop.time = lambda: before() + seconds  # type: ignore[method-assign]

    @staticmethod
    def alive(pid: int | None) -> bool:
        """Whether there is such a process, zombies not counted."""
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except FileNotFoundError:
            return False

    @staticmethod
    def exists(pid: int) -> bool:
        """Whether there is such a process, a zombie too: then no other one gets its pid."""
        return Path(f"/proc/{pid}").exists()


class Done(NamedTuple):
    """A command that has ended."""

    status: int
    out: str
    err: str


Invoke = Callable[..., Done]
"""Runs `gatewright ARGUMENTS` in this process."""


@pytest.fixture
def invoke(capfd: pytest.CaptureFixture[str]) -> Invoke:
    def run(*arguments: str | Path) -> Done:
        with pytest.raises(SystemExit) as ended:
            main([*map(str, arguments)])
        return Done(int(ended.value.code or 0), *capfd.readouterr())

    return run


@pytest.fixture
def bench() -> Iterator[Bench]:
    folder = Path(tempfile.mkdtemp(prefix="gw-"))  # pytest's own paths are too long for sockets
    yield Bench(folder)
    shutil.rmtree(folder)
