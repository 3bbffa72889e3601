"""The command `python -m bench scale`."""

from __future__ import annotations

import argparse
import contextlib
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench import load_tool, machine
from bench.gateway import gateway
from bench.sample import Bench
from bench.scale.apis import UPSTREAM, Fleet
from bench.scale.campaign import measure, one_by_one, requests
from bench.scale.node import Node
from bench.scale.table import markdown
from bench.settings import Settings

WARMUP = 0.5
WORDS = "Many APIs on one node: bulk and single changes, memory, and the cost of a request."


def main(arguments: Sequence[str]) -> None:
    """Prints a table in Markdown; records nothing. BenchError where APIs are not deployed, and on wrong answers."""
    options = _parser().parse_args(arguments)
    settings = Settings(rounds=options.rounds, duration=options.duration, warmup=WARMUP, rows=())
    with tempfile.TemporaryDirectory(prefix="scale-") as home, contextlib.ExitStack() as stack:
        folder = Path(home)
        bench, upstream = _start_upstream(folder, stack)
        fleet = Fleet(upstream, options.pools, options.python)
        written = None
        if options.one_by_one:
            with contextlib.ExitStack() as own:
                written = one_by_one(_start_node(settings, folder / "one-by-one", own), fleet, options.one_by_one)
        nodes, figures = dict[int, Node](), []
        for apis in sorted(options.apis):
            nodes[apis] = _start_node(settings, folder / str(apis), stack)
            figures.append(measure(nodes[apis], fleet, apis, options.singles, folder / str(apis) / "apis"))
        samples = list(requests(bench, nodes, options.singles, settings))
        print(machine.describe(settings, ["scale", *arguments]), "", *markdown(figures, written, samples), sep="\n")


def _start_upstream(folder: Path, stack: contextlib.ExitStack) -> tuple[Bench, str]:
    binary, expectations = load_tool.build(folder), folder / "expectations.json"
    expectations.write_text(json.dumps({UPSTREAM: {}}))
    pid, address = stack.enter_context(load_tool.upstream(binary, expectations, folder))
    return Bench(binary, pid, folder), address


def _start_node(settings: Settings, folder: Path, stack: contextlib.ExitStack) -> Node:
    """A node without APIs."""
    (folder / "none").mkdir(parents=True)
    target = stack.enter_context(gateway(settings, folder / "none", folder))
    return stack.enter_context(contextlib.closing(Node(target)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench scale", description=WORDS)
    add = parser.add_argument
    add("--apis", nargs="+", type=_number, default=[10, 1000], metavar="N", help="numbers of APIs (10 1000)")
    add("--one-by-one", type=_number, default=1000, metavar="N", help="APIs that are written one by one (1000)")
    add("--singles", type=_number, default=50, metavar="N", help="new APIs, and changes, one after another (50)")
    add("--pools", type=_number, default=100, metavar="N", help="upstreams that the APIs share (100)")
    add("--python", action="store_true", help="each API has a policy in Python, too")
    add("--rounds", type=_number, default=5, metavar="N", help="samples of requests to each place (5); 0: none")
    add("--duration", type=float, default=2.0, metavar="S", help="seconds of one sample (2)")
    return parser


def _number(text: str) -> int:
    if (number := int(text)) < 0:
        raise argparse.ArgumentTypeError(f"expected 0 or more, got {text}")
    return number
