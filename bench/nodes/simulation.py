"""Many nodes in one process, by the engine's own client: what each has, and since when."""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench import go_build
from bench.error import BenchError
from bench.load_tool import NO_PREEMPTION
from bench.nodes.controller import Controller
from bench.processes import running, tail

SOURCE = "./gateway-runtime/policy-engine/internal/simulation"
LONGEST = 300.0


@dataclass(frozen=True)
class Line:
    """What a node has after an update. at: seconds since 1970. state: names its APIs with their digests, the same for
    nodes that have the same. changed: APIs in the update."""

    node: str
    at: float
    revision: int
    apis: int
    state: str
    changed: int


class Simulation:
    """Nodes that run. They keep what they have while the controller is away."""

    def __init__(self, process: subprocess.Popen[str], count: int, log: Path) -> None:
        self.pid, self.count = process.pid, count
        self._log, self._lines = log, dict[str, list[Line]]()
        self._news = threading.Condition()
        threading.Thread(target=self._read, args=(process,), daemon=True).start()

    def _read(self, process: subprocess.Popen[str]) -> None:
        for text in process.stdout or ():
            line = Line(**json.loads(text))
            with self._news:
                self._lines.setdefault(line.node, []).append(line)
                self._news.notify()

    def await_all(self, fits: Callable[[Line], bool]) -> list[float]:
        """When each node had what fits first, in order, once all have the same. Raises BenchError."""
        end = time.monotonic() + LONGEST
        with self._news:
            while len(found := self._first(fits)) < self.count or len(self._states()) > 1:
                left = end - time.monotonic()
                if left <= 0 or not self._news.wait(left):
                    states = ", ".join(sorted(self._states()))
                    expected = f"expected all {self.count} nodes to have a change within {LONGEST:g} s"
                    raise BenchError(f"{expected}, got {len(found)}, with the states {states}\n{tail(self._log)}")
        return sorted(found)

    def _first(self, fits: Callable[[Line], bool]) -> list[float]:
        firsts = (next(filter(fits, lines), None) for lines in self._lines.values())
        return [line.at for line in firsts if line]

    def _states(self) -> set[str]:
        return {lines[-1].state for lines in self._lines.values()}

    @property
    def revision(self) -> int:
        """The newest one that a node has."""
        with self._news:
            return max((lines[-1].revision for lines in self._lines.values()), default=0)

    def forget(self) -> None:
        """All lines but the newest of each node."""
        with self._news:
            self._lines = {node: lines[-1:] for node, lines in self._lines.items()}


def build(folder: Path) -> Path:
    """The compiled program, in `folder`."""
    return go_build.build(SOURCE, folder / "simulation")


@contextlib.contextmanager
def simulation(binary: Path, controller: Controller, manifest: Path, count: int, name: str) -> Iterator[Simulation]:
    """New nodes, which begin to connect. They stand for other machines, and preempt no process."""
    log = controller.folder / f"{name}.log"
    command = [
        str(binary), "-count", str(count), "-prefix", name, "-controller", controller.node_address,
        "-controller-authority", str(controller.certificate.chain), "-controller-token", str(controller.node_token),
        "-manifest", str(manifest),
    ]  # fmt: skip
    with running(command, log, scheduling=NO_PREEMPTION) as process:
        yield Simulation(process, count, log)
