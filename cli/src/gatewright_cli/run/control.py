"""The control socket of a run: commands and answers, one JSON object a line.

Policies, and what they have started, are refused (peers.own_check).

→ {"command": "reload"}
← {"step": "building"} …
← {"generation": 2, "seconds": 1.2, "notes": [], "changed": ["greet:v1.0.0"], "restarted": ["default"], "kept": [],
   "spent": {"build": 0.4, …}, "listens": true}        or {"reasons": ["…"]}

→ {"command": "status"}
← {"status": {…}}                                       as in status.json, of this moment
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
from gatewright_controller.peers import PeerCheck
from gatewright_controller.private_socket import PrivateSocket

from gatewright_cli.mistakes import PreflightError
from gatewright_cli.node.run_dir import RunDirError, find_run
from gatewright_cli.run.reloading import Reloaded, ReloadError, Reloads

SOCKET = "control"
FILE = "control.sock"
CONNECT_SECONDS = 2.0
STATUS_SECONDS = 5.0

Status = Callable[[], Awaitable[dict[str, Any]]]


class _Command(msgspec.Struct):
    command: str


class Answer(msgspec.Struct, omit_defaults=True):
    """One line of the answer. The last one has no step."""

    step: str = ""
    generation: int = 0
    seconds: float = 0.0
    notes: list[str] = []
    reasons: list[str] = []
    changed: list[str] = []
    restarted: list[str] = []
    kept: list[str] = []
    spent: dict[str, float] = {}
    listens: bool = False
    status: dict[str, Any] = {}


class Control:
    """Serves the socket. Start it, close it."""

    def __init__(self, path: Path, reloads: Reloads, status: Status, check: PeerCheck) -> None:
        self._reloads, self._status = reloads, status
        self._socket = PrivateSocket(path, check, self._serve)

    async def start(self) -> None:
        """Makes the socket, mode 0600. Raises OSError."""
        await self._socket.start()

    async def close(self) -> None:
        """Cuts off the connections that there are."""
        await self._socket.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _write(writer, await self._answer(await reader.readline(), lambda step: _write(writer, Answer(step=step))))
        await writer.drain()

    async def _answer(self, line: bytes, say: Callable[[str], None]) -> Answer:
        try:
            command = msgspec.json.decode(line, type=_Command).command
        except msgspec.DecodeError as error:
            return Answer(reasons=[f"expected a command as JSON: {error}"])
        match command:
            case "reload":
                return await self._reload(say)
            case "status":
                return Answer(status=await self._status())
        return Answer(reasons=[f"expected the command reload or status, got {command!r}"])

    async def _reload(self, say: Callable[[str], None]) -> Answer:
        try:
            done = await self._reloads.reload(say)
        except ReloadError as error:
            return Answer(reasons=error.reasons)
        return _answer(done)


def _answer(done: Reloaded) -> Answer:
    changed = done.changed
    return Answer(
        generation=done.generation,
        seconds=done.seconds,
        notes=list(done.notes),
        changed=list(changed.policies),
        restarted=list(changed.restarts),
        kept=list(changed.keeps),
        spent=done.spent,
        listens=done.listens,
    )


def _write(writer: asyncio.StreamWriter, answer: Answer) -> None:
    with contextlib.suppress(ConnectionError):
        writer.write(msgspec.json.encode(answer) + b"\n")


def reload(run_dir: Path | None, say: Callable[[str], None]) -> Answer:
    """Has a run reload; returns the last answer. Raises PreflightError where no run can be asked."""
    try:
        path = (run_dir or find_run()) / FILE
    except RunDirError as error:
        raise PreflightError([str(error)]) from error
    with _connect(path) as connection:
        return _ask(connection, "reload", say) or Answer(reasons=["the run ended before the reload had"])


def status(run_dir: Path) -> dict[str, Any] | None:
    """The status of the run there, of this moment; None where it gives no answer: it starts, stops, or is blocked."""
    try:
        with _connect(run_dir / FILE) as connection:
            connection.settimeout(STATUS_SECONDS)
            answer = _ask(connection, "status", lambda _: None)
    except (PreflightError, OSError):
        return None
    return answer.status if answer and answer.status else None


def _ask(connection: socket.socket, command: str, say: Callable[[str], None]) -> Answer | None:
    """The last line of the answer; None where the connection has ended before it."""
    connection.sendall(msgspec.json.encode(_Command(command)) + b"\n")
    for line in connection.makefile("rb"):
        answer = msgspec.json.decode(line, type=Answer)
        if not answer.step:
            return answer
        say(answer.step)
    return None


def _connect(path: Path) -> socket.socket:
    """Raises PreflightError."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(CONNECT_SECONDS)
    try:
        connection.connect(str(path))
    except OSError as error:
        connection.close()
        cure = "name its directory with --run-dir"
        raise PreflightError([f"no run takes commands at {path} ({error.strerror}): {cure}"]) from error
    connection.settimeout(None)
    return connection
