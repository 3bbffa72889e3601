from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from gatewright_cli.supervision.liveness import BUSY_FACTOR, Liveness
from gatewright_cli.supervision.managed_process import ManagedProcess, State
from gatewright_cli.supervision.probes import Answers
from gatewright_cli.supervision.progress import Snapshot
from gatewright_cli.supervision.restarts import RestartPolicy

if TYPE_CHECKING:
    from cli.tests.conftest import Bench

SOON = RestartPolicy(first_delay=0.01, jitter=0.0)
ANSWERS = """
import socket, sys
server = socket.socket(socket.AF_UNIX); server.bind(sys.argv[1]); server.listen()
while True:
    client = server.accept()[0]
    if client.recv(65536): client.sendall(b"HTTP/1.1 204 No Content\\r\\nconnection: close\\r\\n\\r\\n")
    client.close()
"""


def first_verdict(signs: list[Snapshot], limit: float = 5.0) -> float | None:
    """After how many seconds a process that shows one of these signs each second is killed."""
    silence = Liveness(limit)
    for second, sign in enumerate(signs):
        if silence.verdict(sign, float(second)):
            return float(second)
    return None


def test_a_silent_idle_process_is_killed_at_the_limit() -> None:
    assert first_verdict([Snapshot("", 3, 1.0), *[Snapshot("timeout", 3, 1.0)] * 10]) == 5.0


def test_an_answer_in_between_starts_anew() -> None:
    assert (
        first_verdict([*[Snapshot("timeout", 0, 1.0)] * 5, Snapshot("", 0, 1.0), *[Snapshot("timeout", 0, 1.0)] * 4])
        is None
    )


def test_a_process_that_uses_cpu_or_logs_gets_much_longer_but_not_for_ever() -> None:
    works = [Snapshot("timeout", 0, cpu / 2) for cpu in range(100)]
    logs = [Snapshot("timeout", lines, 1.0) for lines in range(100)]
    assert first_verdict(works) == first_verdict(logs) == 5.0 * BUSY_FACTOR


def test_a_process_that_stops_working_is_killed_after_the_limit() -> None:
    assert (
        first_verdict([*(Snapshot("timeout", 0, float(cpu)) for cpu in range(10)), *[Snapshot("timeout", 0, 9.0)] * 10])
        == 14.0
    )


def test_a_process_that_is_stopped_is_killed_and_comes_back(bench: Bench) -> None:
    async def live() -> None:
        alive = Answers("/", socket=bench.folder / "a", any_status=True)
        process = ManagedProcess(bench.listener("a", ANSWERS, alive=alive, silence_seconds=0.1), bench.output, SOON)
        await process.start()
        first = process.pid or 0
        os.kill(first, signal.SIGSTOP)
        await bench.until(lambda: process.state is State.READY and process.pid not in {None, first})
        assert not bench.alive(first)
        await process.stop()

    bench.run(live())
    assert "it has neither answered nor made progress for" in bench.output.text()
