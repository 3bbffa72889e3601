"""The load under which things break: `load mix` as a process, and the upstream that checks what policies did."""

from __future__ import annotations

import json
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from bench import load_tool
from e2e.kit import answers
from e2e.kit.answers import Answer
from e2e.kit.gateway import eventually

LONGEST_SECONDS = 3600.0
STOP_SECONDS = 40.0


@dataclass(frozen=True)
class Flow:
    """An open loop. A header's characters below 256 are bytes; `seconds` is when an answer is given up; `count`
    requests are sent in all, 0: until the load is stopped. retries: how often a request is sent again whose connection
    broke."""

    name: str
    path: str
    rate: float
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()
    connections: int = 2000
    seconds: float = 20.0
    count: int = 0
    retries: int = 0


class Load:
    """Flows under way. `answers()` at any time; `stop()` waits for what was sent."""

    def __init__(self, tool: Path, address: str, flows: Sequence[Flow]) -> None:
        self.flows = flows
        self._folder = tempfile.TemporaryDirectory(prefix="load-")
        plan, self._lines = Path(self._folder.name) / "plan.json", Path(self._folder.name) / "lines"
        plan.write_text(json.dumps({"address": address, "flows": [asdict(flow) for flow in flows]}))
        command = [str(tool), "mix", "-plan", str(plan), "-duration", f"{LONGEST_SECONDS:g}s"]
        with self._lines.open("wb") as out:
            self._process = subprocess.Popen(command, stdout=out, start_new_session=True)

    def answers(self) -> list[Answer]:
        return answers.read_answers(self._lines)

    def flowing(self) -> None:
        """Returns once every flow has had an answer."""
        expected = {flow.name for flow in self.flows}
        eventually("every flow has answers", lambda: expected <= {answer.flow for answer in self.answers()}, 30)

    def stop(self) -> list[Answer]:
        """Sends no more; all answers, once the last one is there."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        return self.finish(STOP_SECONDS)

    def finish(self, seconds: float) -> list[Answer]:
        """Waits until the counted flows have ended, at most `seconds`; all answers."""
        try:
            self._process.wait(seconds)
        finally:
            self._process.kill()
        assert self._process.wait() == 0, f"the load generator ended with {self._process.returncode}"
        return self.answers()

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._folder.cleanup()


@contextmanager
def run_load(tool: Path, address: str, flows: Sequence[Flow]) -> Iterator[Load]:
    load = Load(tool, address, flows)
    try:
        yield load
    finally:
        load.close()


@contextmanager
def run_checking_upstream(tool: Path, expected: dict[str, dict[str, str]]) -> Iterator[str]:
    """An upstream's URL. A request at "/go" without the headers of expected["/go"] is answered 418."""
    with tempfile.TemporaryDirectory(prefix="upstream-") as folder:
        expectations = Path(folder) / "expect.json"
        expectations.write_text(json.dumps(expected))
        with load_tool.upstream(tool, expectations, Path(folder)) as (_, address):
            yield f"http://{address}"


def ask(tool: Path, address: str, flow: Flow) -> list[Answer]:
    """Sends a counted flow; returns with its last answer."""
    with run_load(tool, address, [flow]) as load:
        return load.finish(flow.count / flow.rate + flow.seconds + STOP_SECONDS)


def pause(seconds: float) -> None:
    """Lets load run for a span of time: the one place where a test waits for no condition."""
    time.sleep(seconds)
