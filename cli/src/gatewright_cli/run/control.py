"""The control socket of a run: commands and answers, one JSON object a line.

Policies, and processes that they started, are refused (peers.own_check).

→ {"command": "reload", "apis": [{"name": "hello", "file": "apis/hello.yaml", "text": "…"}]}       "apis" is optional
← {"step": "building"} …
← {"generation": 2, "seconds": 1.2, "notes": [], "changed": ["greet:v1.0.0"], "restarted": ["default"], "kept": [],
   "spent": {"build": 0.4, …}, "listens": true}        or {"reasons": ["…"]}

→ {"command": "log-level", "levels": {"policy-engine": "debug"}, "seconds": 300}       both are optional
← {"levels": [{"component": "policy-engine", "level": "debug", "until": "…", "then": "info"}, …], "reasons": []}

→ {"command": "status"}
← {"status": {…}}                                       as in status.json, up to date
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from gatewright_controller.local.private_socket import PrivateSocket

from gatewright_cli.clients.management import ApiDocument
from gatewright_cli.mistakes import PreflightError
from gatewright_cli.node.files.finding_run import describe_run, find_run
from gatewright_cli.node.files.run_dir import RunDirError
from gatewright_cli.run.logs.level import Level

if TYPE_CHECKING:
    from gatewright_controller.local.peers import PeerCheck

    from gatewright_cli.run.logs.levels import LogLevels
    from gatewright_cli.run.reloading import Reloaded, Reloads

SOCKET = "control"
FILE = "control.sock"
CONNECT_SECONDS = 2.0
STATUS_SECONDS = 5.0
LINE_BYTES = 32 * 1024 * 1024
"""The limit of a command, with the APIs in it."""

Status = Callable[[], Awaitable[dict[str, Any]]]


class _Command(msgspec.Struct, omit_defaults=True):
    command: str
    levels: dict[str, str] = {}
    seconds: float | None = None
    apis: list[ApiDocument] = []


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
    levels: list[Level] = []


class Control:
    """Serves the socket. Start it, close it."""

    def __init__(self, path: Path, reloads: Reloads, status: Status, levels: LogLevels, check: PeerCheck) -> None:
        self._reloads, self._status, self._levels = reloads, status, levels
        self._socket = PrivateSocket(path, check, self._serve, LINE_BYTES)

    async def start(self) -> None:
        """Makes the socket, mode 0600. Raises OSError."""
        await self._socket.start()

    async def close(self) -> None:
        """Closes the socket and its connections."""
        await self._socket.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            line = await reader.readline()
        except ValueError:  # the line is longer
            answer = Answer(reasons=[f"expected a command, with its APIs, of at most {LINE_BYTES} bytes, got more"])
        else:
            answer = await self._answer(line, lambda step: _write(writer, Answer(step=step)))
        _write(writer, answer)
        await writer.drain()

    async def _answer(self, line: bytes, say: Callable[[str], None]) -> Answer:
        try:
            command = msgspec.json.decode(line, type=_Command)
        except msgspec.DecodeError as error:
            return Answer(reasons=[f"expected a command as JSON: {error}"])
        match command.command:
            case "reload":
                return await self._reload(say, command.apis)
            case "status":
                return Answer(status=await self._status())
            case "log-level":
                reasons = await self._levels.change(command.levels, command.seconds)
                return Answer(reasons=reasons, levels=self._levels.report())
        return Answer(reasons=[f"expected the command reload, status or log-level, got {command.command!r}"])

    async def _reload(self, say: Callable[[str], None], apis: Sequence[ApiDocument]) -> Answer:
        from gatewright_cli.run.reloading import ReloadError  # here, since commands import this module too

        try:
            reloaded = await self._reloads.reload(say, apis)
        except ReloadError as error:
            return Answer(reasons=error.reasons)
        return _to_answer(reloaded)


def _to_answer(reloaded: Reloaded) -> Answer:
    changed = reloaded.changed
    return Answer(
        generation=reloaded.generation,
        seconds=reloaded.seconds,
        notes=list(reloaded.notes),
        changed=list(changed.policies),
        restarted=list(changed.restarts),
        kept=list(changed.keeps),
        spent=reloaded.spent,
        listens=reloaded.listens,
    )


def _write(writer: asyncio.StreamWriter, answer: Answer) -> None:
    with contextlib.suppress(ConnectionError):
        writer.write(msgspec.json.encode(answer) + b"\n")


def reload(run_dir: Path | None, say: Callable[[str], None], apis: Sequence[ApiDocument] = ()) -> Answer:
    """Has a run reload, together with these APIs, and returns the last answer. say: called with the run, then with each
    step. Raises PreflightError if no run can be asked.
    """
    at = _socket(run_dir)
    with _connect(at) as connection:
        say(describe_run(at.parent))
        return _ask(connection, _Command("reload", apis=list(apis)), say) or Answer(
            reasons=["the run ended before the reload did"]
        )


def log_levels(run_dir: Path | None, levels: dict[str, str], seconds: float | None = None) -> Answer:
    """Changes log levels, or none, and returns all levels. Raises PreflightError if no run can be asked."""
    with _connect(_socket(run_dir)) as connection:
        command = _Command("log-level", levels, seconds)
        return _ask(connection, command, lambda _: None) or Answer(reasons=["the run ended before it answered"])


def _socket(run_dir: Path | None) -> Path:
    try:
        return (run_dir or find_run()) / FILE
    except RunDirError as error:
        raise PreflightError([str(error)]) from error


def status(run_dir: Path) -> dict[str, Any] | None:
    """The present status of the run; None if it gives no answer, since it starts, stops, or is blocked."""
    try:
        with _connect(run_dir / FILE) as connection:
            connection.settimeout(STATUS_SECONDS)
            answer = _ask(connection, _Command("status"), lambda _: None)
    except (PreflightError, OSError):
        return None
    return answer.status if answer and answer.status else None


def _ask(connection: socket.socket, command: _Command, say: Callable[[str], None]) -> Answer | None:
    """The last line of the answer; None if the connection ended before it."""
    connection.sendall(msgspec.json.encode(command) + b"\n")
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
