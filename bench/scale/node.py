"""A node under measurement: its processes by name, its management API, and its answers."""

from __future__ import annotations

import contextlib
import http.client
import json
import resource
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from bench import cpu
from bench.error import BenchError
from bench.processes import HOST, environment, program
from bench.scale.apis import MARK, context_of, mark_of, name_of, path_of
from bench.target import Target

CONTROLLER, ENGINE, ENVOY, EXECUTORS, SUPERVISOR, COMMAND = (
    "controller",
    "engine",
    "envoy",
    "executors",
    "supervisor",
    "command",
)
PROCESSES = (CONTROLLER, ENGINE, ENVOY, EXECUTORS, SUPERVISOR)
POLL_SECONDS = 0.004
LIVE_SECONDS = 120.0
APPLY_SECONDS = 1200.0
LONGEST_WAIT = 60
IDLE_SECONDS = 1.0


@dataclass(frozen=True)
class Cost:
    """The seconds that something took, and the CPU seconds meanwhile by process."""

    seconds: float
    cpu: Mapping[str, float]


@dataclass(frozen=True)
class Memory:
    """RSS and its peak, in MB."""

    rss: float
    peak: float


@dataclass(frozen=True)
class Listing:
    """A list of all APIs: its seconds, its bytes, its pages."""

    seconds: float
    size: int
    pages: int


class Node:
    """A gateway that runs. Close it."""

    def __init__(self, target: Target) -> None:
        if target.admin is None:
            raise BenchError("expected a target with a run directory")
        self.target, self.run_dir = target, target.admin.parent
        url = urlsplit(str(self._status()["controller"]))
        token = (self.run_dir / "management-token").read_text().strip()
        self._headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        self._controller = http.client.HTTPConnection(url.hostname or HOST, url.port, timeout=LIVE_SECONDS)
        self._asked = 0.0
        self._listener = http.client.HTTPConnection(HOST, target.port, timeout=LIVE_SECONDS)

    def close(self) -> None:
        self._controller.close()
        self._listener.close()

    def apply(self, folder: Path) -> Cost:
        """`gatewright apply` of the folder, until all is deployed. Raises BenchError where that fails."""
        command = [program("gatewright", "`make setup` installs it"), "apply", "-f", str(folder.absolute())]
        command += ["--run-dir", str(self.run_dir), "--timeout", "5m"]
        with self.measuring() as costs:
            done = subprocess.run(
                command, capture_output=True, text=True, env=environment(), timeout=APPLY_SECONDS, check=False
            )
        if done.returncode:
            shown = "\n".join([*done.stderr.splitlines()[-5:], *done.stdout.splitlines()[-5:]])
            raise BenchError(f"expected `gatewright apply` to succeed, got status {done.returncode}\n{shown}")
        return costs[0]

    def write(self, document: Mapping[str, object], *, is_new: bool) -> None:
        """Creates or replaces an API, and does not wait for the node. Raises BenchError."""
        metadata = document["metadata"]
        assert isinstance(metadata, dict)
        method, path = ("POST", "/v1/apis") if is_new else ("PUT", f"/v1/apis/{metadata['name']}")
        self._ask(method, path, json.dumps(document))

    def list_apis(self, query: str) -> Listing:
        """What GET /v1/apis answers, page by page."""
        start, path, size, pages = time.monotonic(), f"/v1/apis?{query}", 0, 0
        while path:
            text = self._get(path)
            size, pages, path = size + len(text), pages + 1, json.loads(text).get("next", "")
        return Listing(time.monotonic() - start, size, pages)

    def await_nodes(self) -> None:
        """Waits until the node has answered for all APIs."""
        self._get(f"/v1/apis?limit=1&wait={LONGEST_WAIT}")

    def _get(self, path: str) -> bytes:
        return self._ask("GET", path)

    def _ask(self, method: str, path: str, content: str | None = None) -> bytes:
        """The body of the answer. Raises BenchError for an error."""
        if time.monotonic() - self._asked > IDLE_SECONDS:
            self._controller.close()  # before the controller does: the next request opens it again
        self._controller.request(method, path, content, self._headers)
        answer = self._controller.getresponse()
        text = answer.read()
        self._asked = time.monotonic()
        if answer.status >= http.client.BAD_REQUEST:
            raise BenchError(f"{method} {path}: {answer.status} {text.decode()[:500]}")
        return text

    def await_live(self, number: int, state: str) -> None:
        """Waits until a request to the API is answered in this state."""
        end = time.monotonic() + LIVE_SECONDS
        while (got := self._mark(number)) != mark_of(number, state):
            if time.monotonic() > end:
                raise BenchError(f"waited {LIVE_SECONDS:g} s for {name_of(number)} to answer {state!r}, got {got!r}")
            time.sleep(POLL_SECONDS)

    def _mark(self, number: int) -> str | None:
        self._listener.request("GET", path_of(number))
        answer = self._listener.getresponse()
        answer.read()
        if answer.status not in (http.client.OK, http.client.NOT_FOUND):
            raise BenchError(f"GET {context_of(number)}: expected 200, or 404 before it is live, got {answer.status}")
        return answer.headers.get(MARK) if answer.status == http.client.OK else None

    @contextlib.contextmanager
    def measuring(self) -> Iterator[list[Cost]]:
        """The list has one Cost once the block has ended."""
        costs = list[Cost]()
        before, start, children = cpu.snapshot(), time.monotonic(), _children()
        yield costs
        seconds, after = time.monotonic() - start, cpu.snapshot()
        used = {name: sum(cpu.own(before, after, pid) for pid in pids) for name, pids in self.pids().items()}
        costs.append(Cost(seconds, {**used, COMMAND: _children() - children}))

    def memory(self) -> dict[str, Memory]:
        """By process; that of several executors together."""
        return {name: _sum([resident(pid) for pid in pids]) for name, pids in self.pids().items()}

    def pids(self) -> dict[str, list[int]]:
        """By process. Raises BenchError where one of them does not run."""
        status = self._status()
        pids: dict[str, list[int]] = {name: [] for name in PROCESSES}
        pids[SUPERVISOR].append(int(str(status["pid"])))
        processes = status["processes"]
        for process in processes if isinstance(processes, list) else []:
            name = EXECUTORS if process["name"].startswith("executor") else process["name"]
            if not isinstance(process["pid"], int):
                raise BenchError(f"expected the process {process['name']} to run, got state {process['state']}")
            pids.setdefault(name, []).append(process["pid"])
        return pids

    def _status(self) -> dict[str, object]:
        document = json.loads((self.run_dir / "status.json").read_text())
        if not isinstance(document, dict):
            raise BenchError(f"expected an object in status.json, got {document!r}")
        return document


def _children() -> float:
    """CPU of this process's children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def resident(pid: int) -> Memory:
    """Of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    values = dict(line.split(":", 1) for line in lines)
    rss, peak = (int(values[key].split()[0]) * 1024 / 1e6 for key in ("VmRSS", "VmHWM"))
    return Memory(rss, peak)


def _sum(memories: list[Memory]) -> Memory:
    return Memory(sum(memory.rss for memory in memories), sum(memory.peak for memory in memories))
