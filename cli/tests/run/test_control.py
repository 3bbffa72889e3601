from __future__ import annotations

import asyncio
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from gatewright_cli.builds.difference import Difference
from gatewright_cli.clients.management import ApiDocument
from gatewright_cli.commands.reload_summary import summary
from gatewright_cli.mistakes import PreflightError
from gatewright_cli.node.files.peers import own_check
from gatewright_cli.run import control
from gatewright_cli.run.control import Answer, Control
from gatewright_cli.run.logs.levels import LogLevels
from gatewright_cli.run.reloading import Reloaded, ReloadError, Reloads

if TYPE_CHECKING:
    from cli.tests.conftest import Bench


class Scripted(Reloads):
    def __init__(self, outcome: Reloaded | Exception) -> None:
        self.outcome = outcome
        self.apis: list[ApiDocument] = []

    async def reload(self, say: Callable[[str], None] = lambda _: None, apis: Sequence[ApiDocument] = ()) -> Reloaded:
        say("building")
        self.apis += apis
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


async def now() -> dict[str, object]:
    return {"state": "running"}


async def nothing(component: str, levels: Mapping[str, str]) -> None:
    """Of a log level that is changed."""


def ask(
    bench: Bench, outcome: Reloaded | Exception | Scripted, raw: bytes = b"", apis: Sequence[ApiDocument] = ()
) -> tuple[Answer, list[str]]:
    """What a run that does `outcome` answers to `gatewright reload`, or to raw bytes."""
    reloads = outcome if isinstance(outcome, Scripted) else Scripted(outcome)
    steps: list[str] = []
    answers: list[Answer] = []

    async def live() -> None:
        serving = Control(
            bench.folder / control.FILE,
            reloads,
            now,
            LogLevels({"supervisor": "info"}, nothing, bench.output),
            own_check(bench.folder / control.FILE, bench.output),
        )
        await serving.start()
        assert stat.S_IMODE((bench.folder / control.FILE).stat().st_mode) == 0o600
        if raw:
            answers.append(await asyncio.to_thread(send, bench.folder / control.FILE, raw))
        else:
            answers.append(await asyncio.to_thread(control.reload, bench.folder, steps.append, apis))
        await serving.close()
        assert not (bench.folder / control.FILE).exists()

    bench.run(live())
    return answers[0], steps


def send(path: Path, raw: bytes) -> Answer:
    import msgspec

    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        connection.sendall(raw)
        return msgspec.json.decode(connection.makefile("rb").readline(), type=Answer)


def test_what_came_of_a_reload(bench: Bench) -> None:
    answer, steps = ask(bench, Reloaded(3, 1.5, ("a note",)))
    assert (answer.generation, answer.seconds, answer.notes, answer.reasons) == (3, 1.5, ["a note"], [])
    assert steps == [f"the run in {bench.folder}", "building"]


def test_what_changed_and_what_the_time_went_into(bench: Bench) -> None:
    changed = Difference(("one:v1.0.0", "two:v1.0.0 new"), ("default",), ("steady",))
    answer, _ = ask(bench, Reloaded(3, 1.5, (), changed, {"build": 1.0, "executors": 0.456}))
    assert summary(answer).splitlines() == [
        "reloaded generation=3 took=1.50s",
        "  changed: one:v1.0.0, two:v1.0.0 new",
        "  executors restarted: default; unchanged: steady",
        "  build 1.00 s, executors 0.46 s",
    ]
    same, _ = ask(bench, Reloaded(3, 0.5, (), Difference(keeps=("steady",)), {"build": 0.5}))
    assert summary(same).splitlines() == ["nothing to reload generation=3", "  build 0.50 s"]


def test_apis_that_come_with_a_reload(bench: Bench) -> None:
    """Longer than a line of 64 KiB, and no longer than a command may be."""
    apis = [ApiDocument("long", "long.yaml", "#" * 300_000)]
    reloads = Scripted(Reloaded(3, 1.5, apis=("long",)))
    answer, _ = ask(bench, reloads, apis=apis)
    assert (answer.generation, reloads.apis) == (3, apis)
    reloads = Scripted(Reloaded(3, 1.5))
    answer, _ = ask(bench, reloads, apis=[ApiDocument("long", "long.yaml", "#" * control.LINE_BYTES)])
    assert answer.reasons == [f"expected a command, with its APIs, of at most {control.LINE_BYTES} bytes, got more"]
    assert reloads.apis == []


def test_a_refused_reload_is_answered_with_its_reasons(bench: Bench) -> None:
    answer, _ = ask(bench, ReloadError(["policy.py:3: this", "and that"]))
    assert (answer.generation, answer.reasons) == (0, ["policy.py:3: this", "and that"])


def test_the_status_of_this_moment(bench: Bench) -> None:
    answer, _ = ask(bench, Reloaded(1, 1.0), b'{"command": "status"}\n')
    assert answer.status == {"state": "running"}
    assert control.status(bench.folder) is None, "there is no run any more"


@pytest.mark.parametrize("raw", [b"reload\n", b'{"command": "explode"}\n', b"\n"])
def test_invalid_commands(bench: Bench, raw: bytes) -> None:
    answer, steps = ask(bench, Reloaded(1, 1.0), raw)
    assert answer.reasons[0].startswith("expected ")
    assert steps == []


def test_no_run_to_ask(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PreflightError, match="no run takes commands"):
        control.reload(bench.folder, print)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(bench.folder))
    with pytest.raises(PreflightError, match="expected a run"):
        control.reload(None, print)


ASKS = """
import socket, sys
with socket.socket(socket.AF_UNIX) as connection:
    connection.connect(sys.argv[1])
    connection.sendall(b'{"command": "status"}\\n')
    print(len(connection.recv(9)))
"""
DAEMON = f"""
import os, subprocess, sys, time
if os.fork():
    os._exit(0)
os.setsid()
subprocess.run([sys.executable, "-c", {ASKS!r}, sys.argv[1]])
"""


@pytest.mark.parametrize("program", [ASKS, DAEMON], ids=["a process", "one that has left its parent"])
def test_what_the_supervisor_has_started_is_not_heard(bench: Bench, program: str) -> None:
    """A policy's process stays below the supervisor, however often it starts another process."""
    supervisor = f"""
import asyncio, subprocess, sys
from pathlib import Path
from gatewright_cli.supervision import prctl
from gatewright_cli.run.control import Control
from gatewright_cli.supervision.logs.output import LogOutput
from gatewright_cli.clients.management import ApiDocument
from gatewright_cli.node.files.peers import own_check
prctl.adopt_orphans()
async def status():
    return {{"state": "running"}}
async def live():
    at = Path(sys.argv[1])
    serving = Control(at, None, status, None, own_check(at, LogOutput(2)))
    await serving.start()
    for program in ({program!r}, {ASKS!r}):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, str(at), stdout=asyncio.subprocess.PIPE
        )
        print((await process.communicate())[0].decode().strip(), flush=True)
    await asyncio.to_thread(input)
asyncio.run(live())
"""
    process = subprocess.Popen(
        [sys.executable, "-c", supervisor, str(bench.folder / control.FILE)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        statuses = [process.stdout.readline().strip() for _ in range(2)]
        received = control.status(bench.folder)
        _, log = process.communicate("\n", timeout=60)
    finally:
        process.kill()
        process.communicate()
    assert (statuses, received, log.count("connection refused")) == (["0", "0"], {"state": "running"}, 2), log
