from __future__ import annotations

import asyncio
import os
import signal
import sys
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest
from gatewright_cli.supervision.handed_socket import HandedSocket
from gatewright_cli.supervision.logs.records import now
from gatewright_cli.supervision.managed_process import ManagedProcess, StartError, State
from gatewright_cli.supervision.probes import Speaks
from gatewright_cli.supervision.restarts import RestartPolicy
from gatewright_cli.supervision.specs import Guest, ProcessSpec
from gatewright_cli.supervision.temporary_folder import TemporaryFolder

if TYPE_CHECKING:
    from cli.tests.conftest import Bench

SOON = RestartPolicy(first_delay=0.01, jitter=0.0)
DIES = "import sys; print('reading settings', flush=True); sys.exit('no such setting: colour')"
DIES_TWICE = """
import os, sys
attempts = sys.argv[1] + "-attempts"
open(attempts, "a").write("x")
if os.path.getsize(attempts) < 3: sys.exit(1)
import socket, time
server = socket.socket(socket.AF_UNIX); server.bind(sys.argv[1]); server.listen()
time.sleep(600)
"""


@dataclass(frozen=True)
class Recorded:
    """A drain that records that it ran, and the process's actions meanwhile."""

    bench: Bench
    ran: list[list[str]] = field(default_factory=list)
    error: Exception | None = None

    async def run(self) -> None:
        self.ran.append(self.bench.events())
        if self.error is not None:
            raise self.error


def keep(bench: Bench, spec: ProcessSpec, **settings: Any) -> ManagedProcess:
    return ManagedProcess(spec, bench.output, SOON, **settings)


def test_ready_means_that_the_probe_has_passed(bench: Bench) -> None:
    async def live() -> None:
        process = keep(bench, bench.listener("a"))
        await process.start()
        assert (process.state, bench.events()) == (State.READY, ["start a", "listen a"])
        await process.stop()
        assert (process.state, process.pid) == (State.STOPPED, None)

    bench.run(live())
    assert bench.events() == ["start a", "listen a", "stop a"]
    assert not (bench.folder / "a").exists()


def test_a_killed_process_comes_back_alone(bench: Bench) -> None:
    async def live() -> None:
        process = keep(bench, bench.listener("a"))
        await process.start()
        first = process.pid
        assert [*process.restarted_at] == []
        before = now()
        os.kill(first or 0, signal.SIGKILL)
        await bench.until(lambda: process.state is State.READY and process.pid not in {None, first})
        assert process.restarts.count == 1
        assert [before <= at <= now() for at in process.restarted_at] == [True]
        await process.stop()

    bench.run(live())
    assert bench.events() == ["start a", "listen a", "start a", "listen a", "stop a"]
    assert "process ended: killed by SIGKILL" in bench.output.text()
    assert "process is back" in bench.output.text()


def test_a_process_whose_restarts_are_paused_stays_down_until_they_go_on(bench: Bench) -> None:
    async def live() -> None:
        process = keep(bench, bench.listener("a"))
        await process.start()
        process.pause_restarts()
        process.kill()
        await bench.until(lambda: process.state is State.RESTARTING)
        await asyncio.sleep(10 * SOON.first_delay)
        assert (process.state, process.pid) == (State.RESTARTING, None)
        assert "again_in" not in bench.output.text()
        process.resume_restarts()
        await bench.until(lambda: process.state is State.READY)
        process.pause_restarts()
        process.kill()
        await bench.until(lambda: process.pid is None)
        await process.stop()

    bench.run(live())
    assert bench.events() == ["start a", "listen a", "start a", "listen a"]


def test_a_start_that_fails_is_reported_with_the_last_lines_and_the_cure(bench: Bench) -> None:
    async def live() -> None:
        process = keep(bench, bench.listener("a", DIES, cure="Set a colour."))
        with pytest.raises(StartError) as caught:
            await process.start()
        await process.stop()
        lines = str(caught.value).splitlines()
        assert lines[:3] == [
            "a did not start: exited with code 1",
            "  │ reading settings",
            "  │ no such setting: colour",
        ]
        assert lines[3].startswith("  its command: ")
        assert lines[4] == "  Set a colour."

    bench.run(live())
    assert bench.output.text().count("a: reading settings") == SOON.start_attempts


def test_a_start_that_succeeds_at_the_third_attempt_is_a_start(bench: Bench) -> None:
    async def live() -> None:
        process = keep(bench, bench.listener("a", DIES_TWICE))
        await process.start()
        assert process.restarts.count == 2
        assert [*process.restarted_at] == []
        await process.stop()

    bench.run(live())


def test_a_program_that_is_not_there_is_tried_once(bench: Bench) -> None:
    async def live() -> None:
        spec = ProcessSpec("a", ("/no/such/program",), bench.listener("a").ready)
        process = keep(bench, spec)
        with pytest.raises(StartError, match="/no/such/program is not there, or is not executable"):
            await process.start()
        await process.stop()
        assert process.restarts.count == 1

    bench.run(live())


def test_without_progress_the_start_ends(bench: Bench) -> None:
    async def live() -> None:
        process = keep(bench, bench.listener("a", "import time; time.sleep(600)"), stall_seconds=0.3)
        with pytest.raises(StartError, match=r"no progress for 0\.3 s while not ready \(.*/a: FileNotFoundError\)"):
            await process.start()
        assert process.pid is None
        await process.stop()

    bench.run(live())


STEPS = 10
LOGS_WHEN_TOLD = "import sys\nfor _ in open(sys.argv[1]): print('step', flush=True)"


class Paced:
    """A probe, and a clock: each time that it is asked, 0.4 s go by and the process logs a line, its only sign of
    progress. Ready after STEPS of them."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self.fifo = bench.folder / "fifo"
        os.mkfifo(self.fifo)
        self.pipe = os.open(self.fifo, os.O_RDWR)
        self.steps = 0

    def monotonic(self) -> float:
        return 0.4 * self.steps

    async def obstacle(self) -> str | None:
        if self.steps == STEPS:
            return None
        self.steps += 1
        os.write(self.pipe, b"\n")
        await self._bench.until(lambda: self._bench.output.text().count("a: step") == self.steps)
        return "not yet"


def test_with_progress_it_is_waited_for(bench: Bench) -> None:
    paced = Paced(bench)

    async def live() -> None:
        spec = ProcessSpec("a", (sys.executable, "-c", LOGS_WHEN_TOLD, str(paced.fifo)), paced)
        process = keep(bench, spec, stall_seconds=0.5, clock=paced.monotonic)
        await process.start()
        assert paced.monotonic() > 0.5
        await process.stop()
        os.close(paced.pipe)

    bench.run(live())


def test_a_stop_drains_first(bench: Bench) -> None:
    drain = Recorded(bench)

    async def live() -> None:
        process = keep(bench, bench.listener("a", drain=drain))
        await process.start()
        await process.stop()

    bench.run(live())
    assert drain.ran == [["start a", "listen a"]]
    assert bench.events()[-1] == "stop a"


def test_a_drain_that_fails_does_not_hold_up_the_stop(bench: Bench) -> None:
    async def live() -> None:
        process = keep(bench, bench.listener("a", drain=Recorded(bench, error=OSError("no answer"))))
        await process.start()
        await process.stop()

    bench.run(live())
    assert bench.events()[-1] == "stop a"
    assert "could not be drained: OSError('no answer')" in bench.output.text()


def test_a_stop_in_the_middle_of_a_start_leaves_nothing(bench: Bench) -> None:
    async def live() -> None:
        process = keep(bench, bench.listener("a", "import time; time.sleep(600)"))
        starting = asyncio.create_task(process.start())
        await bench.until(lambda: process.pid)
        pid = process.pid
        starting.cancel()
        await asyncio.wait({starting})
        await process.stop()
        assert not bench.alive(pid)

    bench.run(live())


def test_a_stale_socket_is_no_obstacle(bench: Bench) -> None:
    (bench.folder / "a").touch()

    async def live() -> None:
        process = keep(bench, bench.listener("a"))
        await process.start()
        await process.stop()

    bench.run(live())
    assert "listen a" in bench.events()


SERVES = """
import os, socket, sys
server = socket.socket(fileno=3)
assert os.listdir(sys.argv[2]) == []
open(sys.argv[2] + "/mine", "w").close()
while True:
    client, _ = server.accept()
    client.send(b"x")
    client.close()
"""


def served(bench: Bench) -> ProcessSpec:
    handed, temporary = HandedSocket(bench.folder / "s"), TemporaryFolder(bench.folder / "own")
    return ProcessSpec(
        "served", (sys.executable, "-c", SERVES, "", str(temporary.path)), Speaks(handed.early_path),
        sockets=(handed.path, handed.early_path), handed=handed, temporary=temporary,
    )  # fmt: skip


def test_a_socket_that_is_handed_over_has_its_name_once_it_is_served(bench: Bench) -> None:
    async def live() -> None:
        spec = served(bench)
        assert spec.handed is not None
        process = keep(bench, spec)
        starting = asyncio.create_task(process.start())
        await bench.until(spec.handed.early_path.exists)
        assert not spec.handed.path.exists()
        await starting
        assert not spec.handed.early_path.exists()
        assert spec.handed.path.stat().st_mode & 0o777 == 0o600
        os.kill(process.pid or 0, signal.SIGKILL)
        await bench.until(lambda: process.state is State.RESTARTING)
        await bench.until(lambda: process.state is State.READY)  # its folder was empty again, or it would have ended
        assert await Speaks(spec.handed.path).obstacle() is None
        await process.stop()

    bench.run(live())
    assert [path.name for path in bench.folder.iterdir()] == ["events"]


def test_a_folder_that_cannot_be_made_is_the_end_of_an_attempt(bench: Bench) -> None:
    async def live() -> None:
        spec = replace(served(bench), temporary=TemporaryFolder(bench.folder / "none" / "own"))
        with pytest.raises(StartError, match=r"its temporary folder cannot be made: .*No such file"):
            await keep(bench, spec).start()

    bench.run(live())


def test_a_fault_of_the_probe_ends_the_start(bench: Bench) -> None:
    class Broken:
        async def obstacle(self) -> str | None:
            raise AssertionError("a fault of ours")

    async def live() -> None:
        spec = bench.listener("a")
        process = keep(bench, ProcessSpec("a", spec.command, Broken()))
        with pytest.raises(AssertionError, match="a fault of ours"):
            await process.start()
        await process.stop()
        assert process.pid is None

    bench.run(live())


HOST = """
import os, pathlib, sys
print("before", flush=True)
print('{"time":"2026-01-01T00:00:00.000Z","level":"info","component":"the-guest","message":"reads '
      + pathlib.Path(sys.argv[1] + "-arguments").read_text() + '"}', flush=True)
print("panic: no more\\n\\ngoroutine 1 [running]:\\ngatewright.dev/build/policies/fragile_v1_0_0.run()\\n", flush=True)
import socket, time
server = socket.socket(socket.AF_UNIX); server.bind(sys.argv[1]); server.listen()
time.sleep(600)
"""


def test_a_guest_lives_and_logs_in_the_process_of_its_host(bench: Bench) -> None:
    def write(words: tuple[str, ...]) -> None:
        (bench.folder / "a-arguments").write_text(" ".join(words))

    guest = Guest("guest", "the-guest", ("first",), write)
    pids: list[tuple[str, bool]] = []

    async def live() -> None:
        spec = bench.listener("a", HOST, guest=guest, go_policies={"fragile_v1_0_0": "fragile:v1.0.0"})
        process = keep(bench, spec, on_pid=lambda name, pid: pids.append((name, pid is not None)))
        await process.start()
        row, own = process.statuses()
        assert (row["name"], row["inside"], row["pid"], own["name"]) == ("guest", "a", process.pid, "a")
        assert pids == [("a", True), ("guest", True)]
        await bench.until(lambda: len(bench.output.lines) > 4)
        sources = [source for source, _ in bench.output.lines if source != "supervisor"]
        assert sources[:3] == ["a", "guest", "guest"]
        os.kill(process.pid or 0, signal.SIGABRT)
        await bench.until(lambda: process.restarts.count == 1 and process.state is State.READY)
        await process.restart(replace(spec, guest=replace(guest, arguments=("second",))))
        await process.stop()

    bench.run(live())
    text = bench.output.text()
    assert '"reason":"panic: no more","policy":"fragile:v1.0.0"' in text
    assert [text.count(f"reads {words}") for words in ("first", "second")] == [2, 1]
    assert pids.count(("guest", False)) == 3
