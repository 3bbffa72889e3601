"""The messages between the command line and other components: the goldens in conformance/messages."""

from __future__ import annotations

import asyncio
import json
import os
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from gatewright_cli.builds import build_output
from gatewright_cli.clients import controller_refusals, engine_admin, management
from gatewright_cli.clients.engine_admin import EngineAdmin, ExecutorsReport
from gatewright_cli.node.files.peers import ROLES, Peers
from gatewright_cli.node.files.run_dir import RunDir
from gatewright_cli.run import control
from gatewright_cli.run.control import Answer

if TYPE_CHECKING:
    from cli.tests.conftest import Bench

MESSAGES = Path(__file__).parents[2] / "conformance" / "messages"


def golden(name: str) -> Any:
    return json.loads((MESSAGES / name).read_text())


def within(read: Any, message: Any) -> bool:
    """Whether all that was read stands so in the message, which may say more."""
    if isinstance(read, dict):
        return all(key in message and within(value, message[key]) for key, value in read.items())
    if isinstance(read, list):
        return len(read) == len(message) and all(map(within, read, message))
    return bool(read == message)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("engine-executors.json", ExecutorsReport),
        ("engine-stats.json", engine_admin._HasXds),
        ("engine-stats.json", engine_admin.EngineStats),
        ("engine-refusal.json", engine_admin._Refusal),
        ("controller-policies.json", management.PolicyImpact),
        ("controller-problem.json", controller_refusals._Problem),
        ("manifest.json", build_output._Manifest),
    ],
)
def test_golden_messages_have_the_members_that_are_read(name: str, kind: type[msgspec.Struct]) -> None:
    """No default stands in for a field that goes by another name."""
    message = golden(name)
    read = json.loads(msgspec.json.encode(msgspec.convert(message, kind)))
    assert set(read) == {field.encode_name for field in msgspec.structs.fields(kind)}
    assert within(read, message), read


def listen(bench: Bench, bodies: list[bytes]) -> AbstractAsyncContextManager[None]:
    """An engine that accepts everything; `bodies` gets the bodies of requests."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        bodies.append(await reader.readexactly(length))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
        await writer.drain()

    return bench.serving(bench.folder / engine_admin.ENGINE_SOCKET, answer)


def test_the_notes_of_the_engine() -> None:
    """No default stands in for a field that goes by another name."""
    (message,) = golden("engine-notes.json")
    assert msgspec.to_builtins(msgspec.convert(message, engine_admin.Note)) == message


def test_the_message_that_deploys_executors(bench: Bench) -> None:
    """The engine's own test reads the same file, and takes no key that it does not know."""
    bodies: list[bytes] = []

    async def ask() -> None:
        engine = EngineAdmin(bench.folder / engine_admin.ENGINE_SOCKET)
        async with listen(bench, bodies):
            executors = {"default": ["unix:/r/executor-default-0.2.sock"]}
            await engine.deploy(2, Path("/b/2/manifest.json"), executors, ["greet:v1.0.0"])

    bench.run(ask())
    assert json.loads(bodies[0]) == golden("engine-deployment.json")


def test_the_lines_of_a_reload() -> None:
    """control.jsonl: a request, a step, its result, a refusal; and the other command with its answer."""
    lines = (MESSAGES / "control.jsonl").read_bytes().splitlines()
    reload_request, step, done, refused, status_request, status = lines
    for line, command in ((reload_request, "reload"), (status_request, "status")):
        assert msgspec.json.decode(line, type=control._Command) == control._Command(command)
        assert msgspec.json.encode(control._Command(command)) == line
    written = Answer(
        generation=2, seconds=1.5, notes=["a note"], changed=["greet:v1.0.0"], restarted=["default"], kept=["models"],
        spent={"build": 0.5},
    )  # fmt: skip
    answers = {step: Answer(step="building"), done: written, refused: Answer(reasons=["a reason"])}
    for line, answer in {**answers, status: Answer(status={"ready": True})}.items():
        assert msgspec.json.encode(answer) == line
        assert msgspec.json.decode(line, type=Answer) == answer


def test_the_file_of_the_peers(bench: Bench) -> None:
    """Controller, engine and executors read it by these names."""
    run_dir = RunDir.open(bench.folder / "run")
    known = Peers(run_dir)
    for number, name in enumerate(ROLES, 2):
        known.on_pid(name, number)
    assert json.loads(run_dir.peers.read_text()) == golden("peers.json") | {"supervisor": os.getpid()}
