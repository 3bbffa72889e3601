"""What is measured of a node with a number of APIs, and of nodes with different numbers beside each other."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.error import BenchError
from bench.load_tool import Load
from bench.processes import HOST
from bench.sample import Bench, Sample, take_undisturbed
from bench.scale.apis import MARK, Fleet, mark_of, path_of
from bench.scale.node import Cost, Listing, Memory, Node
from bench.settings import Settings

CONNECTIONS = 16
NEW = 1_000_000
"""Numbers of APIs that come one by one begin here: behind all others by name, and by context."""
REST_SECONDS = 2.0


@dataclass(frozen=True)
class Singles:
    """Single changes one after another. live: seconds until a request saw each. cost: of all of them."""

    live: Sequence[float]
    cost: Cost

    def percentile(self, share: float) -> float:
        """Seconds: the least that so many, of 1, did not exceed."""
        ordered = sorted(self.live)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


@dataclass(frozen=True)
class Figures:
    """All that is measured of one number of APIs."""

    apis: int
    bulk: Cost
    bulk_memory: Mapping[str, Memory]
    again: Cost
    new: Singles
    changed: Singles
    listed: Listing
    memory: Mapping[str, Memory]


@dataclass(frozen=True)
class OneByOne:
    """APIs that are written one after another. writes: seconds of each. cost: until all are deployed."""

    writes: Sequence[float]
    cost: Cost


def measure(node: Node, fleet: Fleet, apis: int, singles: int, folder: Path) -> Figures:
    """Applies so many APIs, and the same again; then creates some, and changes some, one after another."""
    fleet.write(range(apis), folder)
    report(f"{apis} APIs: in bulk")
    bulk = node.apply(folder)
    node.await_live(apis - 1, "first")
    bulk_memory = node.memory()
    time.sleep(REST_SECONDS)
    report(f"{apis} APIs: {bulk.seconds:.1f} s; the same folder again")
    again = node.apply(folder)
    report(f"{apis} APIs: {again.seconds:.1f} s; {singles} new ones, {singles} changes")
    new = _singles(node, fleet, [NEW + number for number in range(singles)], "first")
    changed = _singles(node, fleet, [number * apis // singles for number in range(singles)], "second")
    return Figures(apis, bulk, bulk_memory, again, new, changed, node.list_apis("limit=1000"), node.memory())


def _singles(node: Node, fleet: Fleet, numbers: Sequence[int], state: str) -> Singles:
    live = list[float]()
    with node.measuring() as costs:
        for turn, number in enumerate(numbers):
            word = f"{state}-{turn}"
            start = time.monotonic()
            node.write(fleet.document(number, word), is_new=number >= NEW)
            node.await_live(number, word)
            live.append(time.monotonic() - start)
    return Singles(live, costs[0])


def one_by_one(node: Node, fleet: Fleet, apis: int) -> OneByOne:
    """Creates so many APIs one after another, and waits until the last one is live."""
    report(f"{apis} APIs one by one")
    writes = list[float]()
    with node.measuring() as costs:
        for number in range(apis):
            start = time.monotonic()
            node.write(fleet.document(number), is_new=True)
            writes.append(time.monotonic() - start)
        node.await_nodes()
        node.await_live(apis - 1, "first")
    return OneByOne(writes, costs[0])


@dataclass(frozen=True)
class Place:
    """An API that is asked: the number of APIs beside it, and which of them it is."""

    apis: int
    title: str
    number: int

    @property
    def key(self) -> str:
        return f"{self.apis}-{self.title}"


def places(sizes: Sequence[int]) -> list[Place]:
    """The first, the middle and the last API of each number of APIs."""
    return [
        Place(apis, title, number)
        for apis in sizes
        for title, number in (("first", 0), ("middle", apis // 2), ("last", apis - 1))
    ]


def requests(bench: Bench, nodes: Mapping[int, Node], singles: int, settings: Settings) -> Iterator[Sample]:
    """Samples of all places, interleaved. Raises BenchError on wrong answers."""
    asked = places(list(nodes))
    for round_ in range(settings.rounds):
        report(f"requests, round {round_ + 1} of {settings.rounds}")
        for place in asked if round_ % 2 == 0 else asked[::-1]:
            yield _sample(bench, nodes[place.apis], place, singles, round_, settings)


def _sample(bench: Bench, node: Node, place: Place, singles: int, round_: int, settings: Settings) -> Sample:
    state = state_of(place, singles)
    load = Load(
        f"http://{HOST}:{node.target.port}{path_of(place.number)}",
        CONNECTIONS,
        settings.warmup,
        settings.duration,
        expect={MARK: mark_of(place.number, state)},
    )
    sample = take_undisturbed(partial(bench.measure, place.key, round_, node.target, load), 1)
    if sample.result.failures:
        raise BenchError(f"{place.key}: {sample.result.failures} wrong answers: {sample.result.first_failure}")
    return sample


def state_of(place: Place, singles: int) -> str:
    """The state in which `measure` has left the API."""
    turns = [turn for turn in range(singles) if turn * place.apis // singles == place.number]
    return f"second-{turns[-1]}" if turns else "first"


def ratio(samples: Sequence[Sample], place: Place, reference: Place) -> float:
    """CPU of a request there in units of one at the reference: the median of those within a round."""
    own = {sample.round: sample for sample in samples if sample.row == place.key}
    theirs = {sample.round: sample for sample in samples if sample.row == reference.key}
    return statistics.median(own[round_].total / theirs[round_].total for round_ in own)


def median_cpu(samples: Sequence[Sample], place: Place) -> float:
    """µs of CPU of all processes of the node for a request."""
    return statistics.median(sample.total for sample in samples if sample.row == place.key)


def median_of(samples: Sequence[Sample], place: Place, column: str) -> float:
    """µs of CPU of some of the node's processes for a request."""
    return statistics.median(sample.cpu.get(column, 0.0) for sample in samples if sample.row == place.key)


def report(text: str) -> None:
    """Says what is under way."""
    print(f"bench: {text}", file=sys.stderr, flush=True)
