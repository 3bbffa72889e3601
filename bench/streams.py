"""`python -m bench streams`: the cost of bodies that pass chunk by chunk, besides the table's rows.

A gateway has three APIs: without policies, with a streaming policy in Go, and with its twin in Python. Each policy
replaces a sign in every event, so that an event that no policy has seen is a wrong answer.

- The first event at idle, one request after the other: what each policy adds to its median.
- Many event streams, one event a second each: how late events are, and the RSS of a stream. Each row has a fresh
  gateway, since processes keep memory that they have used before.
- A body of 1 GiB in each direction: throughput, and the growth of RSS.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import load_tool, machine, memory, rows, transfers
from bench.error import BenchError
from bench.gateway import gateway
from bench.goal import Goal, markdown
from bench.load_tool import Load, Result
from bench.processes import HOST
from bench.rows import EVENTS_GO, EVENTS_NONE, EVENTS_PYTHON, ROWS, Row
from bench.settings import Settings
from bench.target import ENVOY, GO, PYTHON, Target

EVENT_ROWS = tuple(row for row in ROWS if row.key in (EVENTS_NONE, EVENTS_GO, EVENTS_PYTHON))
BYTES = "bytes-"
"""The prefix to a row's key for the API with the same policies for large bodies."""
OPENED_A_SECOND = 250.0
SETTLE_SECONDS = 5.0
SAMPLE_SECONDS = 0.2
MEASURED = (ENVOY, GO, PYTHON)
KIB, MIB = 1 << 10, 1 << 20


@dataclass(frozen=True)
class Streams:
    """Event streams at the same time. lateness: of events, in µs. per_stream: bytes of RSS per stream, by column."""

    count: int
    lateness: Result
    per_stream: Mapping[str, float]


@dataclass(frozen=True)
class Transfer:
    """One direction of a large body. grown: the greatest growth of RSS, in bytes, by column."""

    seconds: float
    grown: Mapping[str, int]


Way = Callable[[int, str, int], float]
WAYS: Mapping[str, Way] = {"upload": transfers.upload, "download": transfers.download}


def main(arguments: Sequence[str]) -> None:
    """Prints tables in Markdown. BenchError on wrong answers."""
    options = _parse(arguments)
    with tempfile.TemporaryDirectory(prefix="streams-") as home, contextlib.ExitStack() as stack:
        begin = stack.enter_context(_prepare(Path(home)))
        with begin() as bench:
            firsts = {row.key: bench.first_event(row, options.seconds) for row in EVENT_ROWS}
            size = options.mebibytes * MIB
            transfers_by_row = {(row.key, way): bench.transfer(row, way, size) for row in EVENT_ROWS for way in WAYS}
        streams_by_row = dict[str, Streams]()
        for row in EVENT_ROWS:
            with begin() as bench:
                bench.first_event(row, 1.0)
                streams_by_row[row.key] = bench.streams(row, options.streams, options.seconds)
    print(machine.describe(Settings(rounds=1, duration=options.seconds), ["streams", *arguments]))
    print(*_render(firsts, streams_by_row, transfers_by_row, options.mebibytes), sep="\n")


@dataclass(frozen=True)
class _Bench:
    tool: Path
    home: Path
    target: Target

    def first_event(self, row: Row, seconds: float) -> int:
        """The median time in µs from the request to the end of an answer with one event."""
        load = Load(self._url(row, "events=1"), 1, 1.0, seconds, mark=row.mark, marks=1)
        return _check_answers(load_tool.generate(self.tool, load, self.home, _nothing, _nothing)).p50

    def streams(self, row: Row, count: int, seconds: float) -> Streams:
        """Opens `count` streams one after the other, then measures them for so many seconds."""
        before = self.resident()
        opened = count / OPENED_A_SECOND
        command = [
            str(self.tool), "streams", "-url", self._url(row, "events=1000000&every=1s"), "-end", row.mark,
            "-streams", str(count), "-open", f"{opened}s", "-settle", f"{SETTLE_SECONDS}s", "-duration", f"{seconds}s",
        ]  # fmt: skip
        shots = list[dict[str, int]]()
        result = load_tool.drive(
            command, opened + SETTLE_SECONDS + seconds, self.home, lambda _: shots.append(self.resident()), _nothing
        )
        per_stream = {column: (shots[0][column] - before[column]) / count for column in MEASURED}
        return Streams(count, _check_answers(result), per_stream)

    def transfer(self, row: Row, way: str, size: int) -> Transfer:
        """Transfers one body, after a small one."""
        path = f"/{BYTES}{row.key}/x"
        WAYS[way](self.target.port, path, MIB)
        before, most = self.resident(), dict.fromkeys(MEASURED, 0)
        with self._record_peak(most):
            seconds = WAYS[way](self.target.port, path, size)
        return Transfer(seconds, {column: most[column] - before[column] for column in MEASURED})

    @contextlib.contextmanager
    def _record_peak(self, most: dict[str, int]) -> Iterator[None]:
        ended = threading.Event()

        def watch() -> None:
            while not ended.wait(SAMPLE_SECONDS):
                most.update({column: max(most[column], now) for column, now in self.resident().items()})

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            yield
        finally:
            ended.set()
            watcher.join()

    def resident(self) -> dict[str, int]:
        """The RSS in bytes, by column."""
        pids = self.target.processes()
        return {column: sum(map(memory.resident, pids[column])) for column in MEASURED}

    def _url(self, row: Row, query: str) -> str:
        return f"http://{HOST}:{self.target.port}{row.prefix}/orders/4711?{query}"


@contextlib.contextmanager
def _prepare(home: Path) -> Iterator[Callable[[], contextlib.AbstractContextManager[_Bench]]]:
    """Yields a function that starts a fresh gateway for a measurement."""
    tool = load_tool.build(home)
    rows.write_expectations(EVENT_ROWS, home / "expect.json")
    with (
        load_tool.upstream(tool, home / "expect.json", home) as (_, events),
        transfers.byte_upstream() as (large, _),
    ):
        rows.write_apis(EVENT_ROWS, events, home / "apis")
        for row in EVENT_ROWS:
            (home / "apis" / f"{BYTES}{row.key}.json").write_text(json.dumps(bytes_api(row, large)))

        @contextlib.contextmanager
        def begin() -> Iterator[_Bench]:
            with gateway(Settings(), home / "apis", home) as target:
                yield _Bench(tool, home, target)

        yield begin


def bytes_api(row: Row, upstream: str) -> dict[str, object]:
    """An API with the row's policies for bodies in both directions."""
    definition = rows.api(row, upstream)
    spec = dict(definition["spec"])  # type: ignore[call-overload]
    spec |= {
        "context": f"/{BYTES}{row.key}",
        "upstream": {"main": {"url": f"http://{upstream}"}},
        "operations": [{"method": method, "path": "/*"} for method in ("GET", "POST")],
    }
    return definition | {"metadata": {"name": f"{BYTES}{row.key}"}, "spec": spec}


def _render(
    firsts: Mapping[str, int],
    streams_by_row: Mapping[str, Streams],
    transfers_by_row: Mapping[tuple[str, str], Transfer],
    mebibytes: int,
) -> Iterator[str]:
    titles = {row.key: row.title.removeprefix("gateway, ").rpartition(",")[0] for row in EVENT_ROWS}
    yield "\n" + markdown(goals(firsts, streams_by_row, transfers_by_row))
    late = "lateness p50 ms | p99 ms | max ms"
    yield f"\n| row | first event, p50 µs | {late} | KiB a stream: Envoy | engine | executor |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    for key, streams in streams_by_row.items():
        times = [
            f"{microseconds / 1000:.1f}"
            for microseconds in (streams.lateness.p50, streams.lateness.p99, streams.lateness.max)
        ]
        memory = [f"{streams.per_stream[column] / KIB:.1f}" for column in MEASURED]
        yield f"| {titles[key]} | {firsts[key]} | {' | '.join([*times, *memory])} |"
    yield f"\n| row, {mebibytes} MiB | MiB/s | MiB of RSS more: Envoy | engine | executor |"
    yield "| --- | ---: | ---: | ---: | ---: |"
    for (key, way), transfer in transfers_by_row.items():
        grown = [f"{max(0, transfer.grown[column]) / MIB:.1f}" for column in MEASURED]
        yield f"| {titles[key]}, {way} | {mebibytes / transfer.seconds:.0f} | {' | '.join(grown)} |"


def goals(
    firsts: Mapping[str, int],
    streams_by_row: Mapping[str, Streams],
    transfers_by_row: Mapping[tuple[str, str], Transfer],
) -> Iterator[Goal]:
    """The goals of the Python policy."""
    python = streams_by_row[EVENTS_PYTHON]
    added = (firsts[EVENTS_PYTHON] - firsts[EVENTS_NONE]) / 1000
    yield Goal("first event through a Python policy: added ms, p50", added, 5.0, more=False)
    yield Goal(
        f"{python.count} streams: events behind upstream, ms, p99", python.lateness.p99 / 1000, 250.0, more=False
    )
    yield Goal("RSS of an idle stream in the executor, KB", python.per_stream[PYTHON] / 1000, 30.0, more=False)
    yield Goal("RSS of an idle stream in the engine, KB", python.per_stream[GO] / 1000, 40.0, more=False)
    for way in WAYS:
        ours, go = transfers_by_row[EVENTS_PYTHON, way], transfers_by_row[EVENTS_GO, way]
        yield Goal(f"{way}: throughput × a Go policy's", go.seconds / ours.seconds, 0.35)
        yield Goal(f"{way}: RSS more, engine, MB", ours.grown[GO] / 1e6, 64.0, more=False)
        yield Goal(f"{way}: RSS more, executor, MB", ours.grown[PYTHON] / 1e6, 64.0, more=False)


def _check_answers(result: Result) -> Result:
    if result.failures or not result.count:
        raise BenchError(f"expected right answers, got {result.failures} wrong ones: {result.first_failure}")
    return result


def _nothing(_: int) -> None:
    """Ignores a mark of the load tool."""


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench streams", description=__doc__)
    parser.add_argument("--streams", type=int, default=2000, help="event streams at once (2000)")
    parser.add_argument("--seconds", type=float, default=15.0, help="of each measurement (15)")
    parser.add_argument("--mebibytes", type=int, default=1024, help="of each large body (1024)")
    return parser.parse_args(arguments)
