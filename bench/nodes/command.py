"""The command `python -m bench nodes`."""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench import load_tool, machine
from bench.error import BenchError
from bench.gateway import BUILD
from bench.nodes import simulation
from bench.nodes.campaign import measure, report, staged
from bench.nodes.controller import Controller
from bench.nodes.joined import joined
from bench.nodes.table import markdown
from bench.processes import environment, program
from bench.scale.apis import UPSTREAM, Fleet

WORDS = "Many nodes of one controller: how soon all have a change, and what that costs the controller."
BUILD_SECONDS = 900.0


def main(arguments: Sequence[str]) -> None:
    """Prints a table in Markdown; records nothing. BenchError where nodes do not get what is written."""
    options = _parser().parse_args(arguments)
    build = options.build or _build()
    with tempfile.TemporaryDirectory(prefix="nodes-") as home, contextlib.ExitStack() as stack:
        folder = Path(home)
        fleet = Fleet(_start_upstream(folder, stack))
        controller = stack.enter_context(contextlib.closing(Controller(folder, build)))
        controller.start()
        others = [stack.enter_context(joined(controller, build, number)) for number in range(options.whole)]
        binary, manifest = simulation.build(folder), build / "manifest.json"
        stage = stack.enter_context(staged(controller, binary, manifest, options.nodes, others))
        figures = [
            measure(stage, fleet, apis, options.changes, folder / f"apis-{apis}") for apis in sorted(options.apis)
        ]
        described = machine.describe_command(["nodes", *arguments])
        print(described, "", *markdown(figures, options.nodes, options.whole), sep="\n")


def _build() -> Path:
    """The output of the bench's build; nothing is compiled where nothing has changed."""
    report("building")
    command = [program("gatewright", "`make setup` installs it"), "build", "--manifest", str(BUILD.manifest)]
    command += ["--output", str(BUILD.output)]
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment(), timeout=BUILD_SECONDS, check=False
    )
    if done.returncode:
        raise BenchError(f"expected `gatewright build` to succeed, got {done.returncode}\n{done.stderr[-2000:]}")
    return BUILD.output


def _start_upstream(folder: Path, stack: contextlib.ExitStack) -> str:
    expectations = folder / "expectations.json"
    expectations.write_text(f'{{"{UPSTREAM}": {{}}}}')
    _, address = stack.enter_context(load_tool.upstream(load_tool.build(folder), expectations, folder))
    return address


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench nodes", description=WORDS)
    add = parser.add_argument
    add("--nodes", type=int, default=100, metavar="N", help="simulated nodes (100)")
    add("--whole", type=int, default=2, metavar="N", help="whole nodes beside them, with Envoy (2)")
    add("--apis", nargs="+", type=int, default=[10, 1000], metavar="N", help="numbers of APIs (10 1000)")
    add("--changes", type=int, default=30, metavar="N", help="changes, one after another (30)")
    add("--build", type=Path, metavar="DIR", help="the output of a build that has add-headers (the bench's own)")
    return parser
