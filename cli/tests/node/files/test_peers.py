from __future__ import annotations

import json
import os
import stat
from typing import TYPE_CHECKING

from gatewright_cli.node.files import peers
from gatewright_cli.node.files.run_dir import RunDir
from gatewright_cli.supervision.managed_process import ManagedProcess
from gatewright_cli.supervision.restarts import RestartPolicy

if TYPE_CHECKING:
    from cli.tests.conftest import Bench

LISTENS = """
import os, signal, socket, sys
server = socket.socket(socket.AF_UNIX)
server.bind(sys.argv[1])
server.listen()
while True:
    signal.pause()
"""


def test_a_pid_is_named_as_long_as_it_is_that_process(bench: Bench) -> None:
    """Not in the moment between its end and its restart, in which another process could get it."""
    run_dir = RunDir.open(bench.folder / "run")
    known = peers.Peers(run_dir)
    file = run_dir.peers

    def named() -> dict[str, int]:
        found: dict[str, int] = json.loads(file.read_text())
        return found

    seen: list[tuple[dict[str, int], bool]] = []

    def noted(name: str, pid: int | None) -> None:
        if pid is None:
            before = named()["engine"]
        known.on_pid(name, pid)
        if pid is None:
            seen.append((named(), bench.exists(before)))

    async def live() -> None:
        spec = bench.listener("engine", LISTENS)
        process = ManagedProcess(spec, bench.output, RestartPolicy(first_delay=0.01), on_pid=noted)
        await process.start()
        first = process.pid
        assert named() == {"supervisor": os.getpid(), "engine": first}
        assert first is not None
        os.kill(first, 9)
        await bench.until(lambda: process.pid not in {None, first} and process.state == "ready")
        assert named() == {"supervisor": os.getpid(), "engine": process.pid}
        await process.stop()
        assert named() == {"supervisor": os.getpid()}

    bench.run(live())
    assert seen == [({"supervisor": os.getpid()}, True)] * 2
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    run_dir.remove()
    assert not (bench.folder / "run").exists()


def test_of_others_nothing_is_written(bench: Bench) -> None:
    run_dir = RunDir.open(bench.folder / "run")
    known = peers.Peers(run_dir)
    known.on_pid("executor-default-0", 7)
    assert json.loads(run_dir.peers.read_text()) == {"supervisor": os.getpid()}
    run_dir.remove()


def test_processes_of_other_programs_stay(bench: Bench) -> None:
    """A run directory may have existed before, and so may a folder in it."""
    theirs = bench.folder / "run" / "peers" / "theirs"
    theirs.parent.mkdir(parents=True)
    theirs.parent.parent.chmod(0o700)
    theirs.write_text("mine")
    run_dir = RunDir.open(bench.folder / "run")
    peers.Peers(run_dir)
    run_dir.remove()
    assert [path.name for path in theirs.parent.iterdir()] == ["theirs"]
