"""Takes all samples of a run, interleaved, so that the machine disturbs all rows alike."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

from bench import load_tool, revision, rows
from bench.gateway import gateway
from bench.peers import PEERS
from bench.peers.site import Site
from bench.rows import Row
from bench.sample import Bench, Sample, take_undisturbed
from bench.settings import Settings
from bench.target import Target

FOLDER = Path("build/bench")
SAMPLES = FOLDER / "samples.jsonl"


def run(settings: Settings) -> Iterator[Sample]:
    """Builds and starts all targets, then yields each sample and writes it to SAMPLES."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    binary = load_tool.build(FOLDER)
    expectations = FOLDER / "expect.json"
    rows.write_expectations(settings.rows, expectations)
    with (
        load_tool.upstream(binary, expectations, FOLDER) as (upstream_pid, address),
        targets(settings, address) as measured_targets,
        SAMPLES.open("w") as record,
    ):
        for sample in measure(settings, measured_targets, Bench(binary, upstream_pid, FOLDER)):
            record.write(json.dumps(asdict(sample)) + "\n")
            yield sample


def measure(settings: Settings, measured_targets: Mapping[str, Target], bench: Bench) -> Iterator[Sample]:
    """Takes the samples by round, then by number of connections, then by row."""
    for round_ in range(settings.rounds):
        for connections in settings.connections:
            for row in in_order(settings.measured_at(connections), round_):
                port = measured_targets[row.key].port
                load = load_tool.load_of(row, port, connections, settings.warmup, settings.duration, settings.rate)
                yield take_undisturbed(
                    partial(bench.measure, row.key, round_, measured_targets[row.key], load), settings.repeats
                )


def in_order(all_rows: Sequence[Row], round_: int) -> Sequence[Row]:
    """The rows, in every other round backwards, so that no row always follows the same other row."""
    return all_rows if round_ % 2 == 0 else all_rows[::-1]


@contextlib.contextmanager
def targets(settings: Settings, upstream: str) -> Iterator[dict[str, Target]]:
    """Row → its target. Rows with an API share a gateway for each commit and mode; without such rows there is none."""
    with contextlib.ExitStack() as stack:
        by_row: dict[str, Target] = {}
        for row in settings.rows:
            if row.key in PEERS:
                by_row[row.key] = stack.enter_context(PEERS[row.key].start(site(settings, row, upstream)))
        with_api = [row for row in settings.rows if row.key not in PEERS]
        for commit, engine in dict.fromkeys((row.revision, row.engine) for row in with_api):
            served = tuple(row for row in with_api if (row.revision, row.engine) == (commit, engine))
            served_gateway = stack.enter_context(gateway_of(commit, engine, settings, served, upstream))
            by_row |= {row.key: served_gateway for row in served}
        yield by_row


def gateway_of(
    commit: str, engine: str, settings: Settings, served: tuple[Row, ...], upstream: str
) -> contextlib.AbstractContextManager[Target]:
    """The gateway of a commit with the APIs of these rows. Another commit than this tree's, and another mode than the
    default one, has a folder of its own."""
    folder = FOLDER / (commit or engine)
    folder.mkdir(exist_ok=True)
    tree = revision.checkout(commit, folder / "tree") if commit else None
    rows.write_apis(served, upstream, folder / "apis")
    return gateway(settings, folder / "apis", folder, tree, engine=engine)


def site(settings: Settings, row: Row, upstream: str) -> Site:
    """The surroundings of a row's peer, with a folder of its own."""
    folder = FOLDER / row.key
    folder.mkdir(exist_ok=True)
    return Site(settings, row, upstream, folder)
