"""What is measured of a controller with many nodes."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.nodes.controller import Answer, Controller
from bench.nodes.joined import Joined
from bench.nodes.simulation import Line, Simulation, simulation
from bench.scale.apis import Fleet, name_of
from bench.scale.node import Memory

IDLE_SECONDS = 15.0
PAGES = {
    "GET /v1/nodes": "/v1/nodes",
    "GET /v1/nodes?limit=100": "/v1/nodes?limit=100",
    "GET /v1/apis": "/v1/apis",
    "GET /v1/apis/NAME": f"/v1/apis/{name_of(0)}",
    "GET /metrics": "/metrics",
}


@dataclass(frozen=True)
class Change:
    """One write, in seconds. answered: from the request to its answer. first, last: from the answer until the first and
    the last node had the change; negative where they had it before the answer had arrived."""

    answered: float
    first: float
    last: float


@dataclass(frozen=True)
class Changes:
    """One after another. cpu: seconds of the controller, of all of them."""

    all: Sequence[Change]
    cpu: float


@dataclass(frozen=True)
class Cost:
    """Seconds that something took, those of CPU that the controller took, and its memory after that."""

    seconds: float
    cpu: float
    memory: Memory


@dataclass(frozen=True)
class Page:
    """seconds: the median of several answers."""

    seconds: float
    size: int


@dataclass(frozen=True)
class Figures:
    """All that is measured with so many APIs. waited: seconds of each write with `wait`, until its answer says that it
    is deployed. seen: from a write's answer until requests to all whole nodes saw it. idle: share of a core. restart:
    from the controller's health until all nodes were up to date; anew: from the start of so many new nodes."""

    apis: int
    bulk: Cost
    changes: Changes
    waited: Changes
    seen: Sequence[float]
    pages: Mapping[str, Page]
    get_nodes: float
    idle: float
    restart: Cost
    anew: Cost


@dataclass
class Stage:
    """A controller, and the nodes that are connected. count: of simulated ones; others: the whole ones."""

    controller: Controller
    binary: Path
    manifest: Path
    count: int
    others: Sequence[Joined]
    simulated: Simulation
    nodes: contextlib.ExitStack

    def renew(self, name: str) -> float:
        """Ends the simulated nodes, and starts as many new ones; when they were started, in seconds since 1970."""
        self.nodes.close()
        started = time.time()
        self.simulated = self.nodes.enter_context(
            simulation(self.binary, self.controller, self.manifest, self.count, name)
        )
        return started


def measure(stage: Stage, fleet: Fleet, apis: int, changes: int, folder: Path) -> Figures:
    """Applies so many APIs in bulk, changes some of them, looks at pages, restarts the controller, and replaces all
    nodes."""
    fleet.write(range(apis), folder)
    report(f"{apis} APIs: in bulk")
    bulk = _cost(stage, lambda: _applied(stage, folder))
    stage.simulated.await_all(_has(apis))
    report(f"{apis} APIs: {bulk.seconds:.1f} s; {changes} changes")
    numbers = [turn * apis // changes for turn in range(changes)]
    single = _changes(stage, lambda turn: _change(stage, fleet, numbers[turn], f"single-{turn}"), changes)
    waited = _changes(stage, lambda turn: _change(stage, fleet, numbers[turn], f"waited-{turn}", "?wait=60"), changes)
    seen = [_seen(stage, fleet, numbers[turn], f"seen-{turn}") for turn in range(changes if stage.others else 0)]
    report(f"{apis} APIs: pages, and nothing for {IDLE_SECONDS:g} s")
    pages = {title: _page(stage.controller, path) for title, path in PAGES.items()}
    get_nodes = stage.controller.run("get", "nodes")
    idle = _idle(stage.controller)
    report(f"{apis} APIs: the controller is killed and started again")
    restart = _restart(stage)
    report(f"{apis} APIs: {restart.seconds:.2f} s; {stage.count} new nodes")
    anew = _anew(stage, apis)
    return Figures(apis, bulk, single, waited, seen, pages, get_nodes, idle, restart, anew)


def _applied(stage: Stage, folder: Path) -> float:
    return stage.controller.run("apply", "-f", str(folder.absolute()), "--timeout", "5m")


def _cost(stage: Stage, action: Callable[[], float]) -> Cost:
    before = stage.controller.cpu_seconds()
    seconds = action()
    return Cost(seconds, stage.controller.cpu_seconds() - before, stage.controller.memory())


def _changes(stage: Stage, change: Callable[[int], Change], count: int) -> Changes:
    before = stage.controller.cpu_seconds()
    changes = [change(turn) for turn in range(count)]
    return Changes(changes, stage.controller.cpu_seconds() - before)


def _change(stage: Stage, fleet: Fleet, number: int, word: str, query: str = "") -> Change:
    revision = stage.simulated.revision
    answer, answered = _written(stage.controller, fleet, number, word, query)
    times = stage.simulated.await_all(lambda line: line.revision > revision)
    stage.simulated.forget()
    return Change(answer.seconds, times[0] - answered, times[-1] - answered)


def _written(controller: Controller, fleet: Fleet, number: int, word: str, query: str = "") -> tuple[Answer, float]:
    """Its answer, and when that came, in seconds since 1970."""
    answer = controller.ask("PUT", f"/v1/apis/{name_of(number)}{query}", fleet.document(number, word))
    return answer, time.time()


def _seen(stage: Stage, fleet: Fleet, number: int, word: str) -> float:
    _, answered = _written(stage.controller, fleet, number, word)
    return max(node.await_live(number, word) for node in stage.others) - answered


def _page(controller: Controller, path: str) -> Page:
    answers = sorted((controller.ask("GET", path) for _ in range(5)), key=lambda answer: answer.seconds)
    return Page(answers[2].seconds, answers[2].size)


def _idle(controller: Controller) -> float:
    before = controller.cpu_seconds()
    time.sleep(IDLE_SECONDS)
    return (controller.cpu_seconds() - before) / IDLE_SECONDS


def _restart(stage: Stage) -> Cost:
    """The CPU is that since its start, until all nodes are up to date."""
    killed = time.time()
    stage.controller.kill()
    healthy = stage.controller.start()
    before = stage.controller.cpu_seconds()
    times = stage.simulated.await_all(lambda line: line.at > killed)
    return Cost(times[-1] - healthy, stage.controller.cpu_seconds() - before, stage.controller.memory())


def _anew(stage: Stage, apis: int) -> Cost:
    """Until all new nodes have all APIs."""

    def join() -> float:
        started = stage.renew(f"anew-{apis}")
        return stage.simulated.await_all(_has(apis))[-1] - started

    return _cost(stage, join)


def _has(apis: int) -> Callable[[Line], bool]:
    return lambda line: line.apis == apis


def report(text: str) -> None:
    """Says what is under way."""
    print(f"bench: {text}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def staged(
    controller: Controller, binary: Path, manifest: Path, count: int, others: Sequence[Joined]
) -> Iterator[Stage]:
    """Nodes without APIs, which are all connected."""
    with contextlib.ExitStack() as nodes:
        first = nodes.enter_context(simulation(binary, controller, manifest, count, "simulated"))
        first.await_all(lambda _: True)
        yield Stage(controller, binary, manifest, count, others, first, nodes)
