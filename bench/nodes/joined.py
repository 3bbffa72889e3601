"""Whole nodes, with Envoy, that join the controller as well: when their clients see a change."""

from __future__ import annotations

import contextlib
import http.client
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.error import BenchError
from bench.load_tool import NO_PREEMPTION, kill_after
from bench.nodes.controller import Controller
from bench.processes import HOST, program, running, tail
from bench.scale.apis import MARK, mark_of, path_of

START_SECONDS = 120.0
LIVE_SECONDS = 120.0
POLL_SECONDS = 0.004


class Joined:
    """A node that is ready, by its port."""

    def __init__(self, port: int) -> None:
        self._listener = http.client.HTTPConnection(HOST, port, timeout=LIVE_SECONDS)

    def await_live(self, number: int, state: str) -> float:
        """When a request to the API was answered in this state first, in seconds since 1970. Raises BenchError."""
        end = time.monotonic() + LIVE_SECONDS
        while (got := self._mark(number)) != mark_of(number, state):
            if time.monotonic() > end:
                raise BenchError(f"waited {LIVE_SECONDS:g} s for {path_of(number)} to answer {state!r}, got {got!r}")
            time.sleep(POLL_SECONDS)
        return time.time()

    def _mark(self, number: int) -> str | None:
        self._listener.request("GET", path_of(number))
        answer = self._listener.getresponse()
        answer.read()
        return answer.headers.get(MARK)


@contextlib.contextmanager
def joined(controller: Controller, build: Path, number: int) -> Iterator[Joined]:
    """A node of its own state, until it is ready."""
    log = controller.folder / f"joined-{number}.log"
    with tempfile.TemporaryDirectory(prefix="joined-") as home:  # a socket's path must be short
        run_dir = Path(home) / "run"
        command = [
            program("gatewright", "`make setup` installs it"), "run", "--build", str(build), "--port", "0",
            "--join", controller.node_address, "--join-authority", str(controller.certificate.chain),
            "--join-token-file", str(controller.node_token), "--node-id", f"joined-{number}",
            "--state-dir", f"{home}/state", "--run-dir", str(run_dir),
            "--access-log", "/dev/null", "--log-format", "json", "--drain-seconds", "1", "--envoy.concurrency", "1",
        ]  # fmt: skip
        with running(command, log, scheduling=NO_PREEMPTION) as process:
            with kill_after(process, START_SECONDS):
                if not any(line.startswith("ready ") for line in process.stdout or ()):
                    raise BenchError(f"the node did not start\n{tail(log)}")
            url = str(json.loads((run_dir / "status.json").read_text())["url"])
            yield Joined(int(url.rpartition(":")[2]))
