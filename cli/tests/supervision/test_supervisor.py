from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING

import pytest
from gatewright_cli.supervision.managed_process import StartError, State
from gatewright_cli.supervision.restarts import RestartPolicy
from gatewright_cli.supervision.supervisor import Supervisor

if TYPE_CHECKING:
    from cli.tests.conftest import Bench

SOON = RestartPolicy(first_delay=0.01, jitter=0.0)
NAMES = ("first", "second", "third")
DEAF = """
import signal, socket, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
server = socket.socket(socket.AF_UNIX); server.bind(sys.argv[1]); server.listen()
time.sleep(600)
"""


def test_in_order_up_and_in_reverse_down(bench: Bench) -> None:
    async def live() -> None:
        supervisor = Supervisor([bench.listener(name) for name in NAMES], bench.output, SOON)
        started = await supervisor.start()
        assert [process.name for process in started] == list(NAMES)
        assert all(process.seconds > 0 for process in started)
        await supervisor.stop()

    bench.run(live())
    up = [f"{what} {name}" for name in NAMES for what in ("start", "listen")]
    assert bench.events() == [*up, "stop third", "stop second", "stop first"]
    assert [entry.name for entry in bench.folder.iterdir()] == ["events"]


def test_a_failed_start_starts_nothing_after_it(bench: Bench) -> None:
    async def live() -> None:
        specs = [bench.listener("first"), bench.listener("second", "raise SystemExit(7)"), bench.listener("third")]
        supervisor = Supervisor(specs, bench.output, SOON)
        with pytest.raises(StartError, match="second did not start: exited with code 7"):
            await supervisor.start()
        await supervisor.stop()

    bench.run(live())
    assert bench.events() == ["start first", "listen first", "stop first"]


def test_a_restart_touches_no_other_process(bench: Bench) -> None:
    changes: list[None] = []

    async def live() -> None:
        specs = [bench.listener(name) for name in NAMES]
        supervisor = Supervisor(specs, bench.output, SOON, lambda: changes.append(None))
        await supervisor.start()
        before = [process.pid for process in supervisor.processes]
        changes.clear()
        os.kill(before[1] or 0, signal.SIGKILL)
        second = supervisor.processes[1]
        await bench.until(lambda: second.state is State.READY and second.pid not in {None, before[1]})
        after = [process.pid for process in supervisor.processes]
        assert (after[0], after[2]) == (before[0], before[2])
        assert len(changes) == len([State.RESTARTING, State.STARTING, State.READY])
        await supervisor.stop()

    bench.run(live())


def test_killing_cuts_a_stop_short(bench: Bench) -> None:
    async def live() -> None:
        supervisor = Supervisor([bench.listener("first"), bench.listener("deaf", DEAF)], bench.output, SOON)
        await supervisor.start()
        pids = [process.pid for process in supervisor.processes]
        stopping = asyncio.create_task(supervisor.stop())
        await bench.until(lambda: supervisor.processes[1].state is State.STOPPING)
        supervisor.kill()
        await stopping
        assert not any(bench.alive(pid) for pid in pids)

    bench.run(live())
