"""The command `python -m bench llm`."""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench import environment, load_tool, machine, report
from bench.gateway import Build
from bench.llm.measure import Held, LlmSample, Plan, Site, provider, turns
from bench.llm.rows import CHAIN, KEYS
from bench.llm.table import markdown
from bench.peers.litellm_proxy import REQUIREMENTS
from bench.settings import README
from bench.shipped import write_manifest

OUTPUT = Path("build/bench/llm")


def main(arguments: Sequence[str]) -> None:
    """Prints tables in Markdown, and writes them into the README with --record. BenchError on wrong answers."""
    plan, record = parse(arguments)
    with tempfile.TemporaryDirectory(prefix="llm-") as home:
        folder = Path(home)
        tool = load_tool.build(folder)
        build = Build(write_manifest(folder, {str(attachment["name"]) for attachment in CHAIN}), OUTPUT)
        samples = sample_rows(plan, tool, folder, build)
        held = hold_rows(plan, tool, folder, build)
    about = [machine.describe_command(["llm", *arguments]), f"- peer: {environment.versions(REQUIREMENTS)}"]
    section = "\n".join([*about, *markdown(samples, held, plan)])
    print(section)
    if record:
        report.write(README, section, report.LLM_BEGIN, report.LLM_END)


def sample_rows(plan: Plan, tool: Path, folder: Path, build: Build) -> list[LlmSample]:
    """All rows run beside each other, and are measured in turn."""
    samples = list[LlmSample]()
    with contextlib.ExitStack() as stack:
        pid, address = stack.enter_context(provider(tool, folder, plan.gap))
        site = Site(tool, folder, address, pid, plan)
        targets = {key: stack.enter_context(site.start(key, build)) for key in KEYS}
        for key, target in targets.items():
            site.warm(key, target)
        for number, key in turns(KEYS, plan.rounds):
            samples.append(site.sample(key, number, targets[key]))
            _report(samples[-1])
    return samples


def hold_rows(plan: Plan, tool: Path, folder: Path, build: Build) -> list[Held]:
    """Each row alone, with fresh processes, since they keep memory that they have used before."""
    held = list[Held]()
    for key in KEYS:
        with (
            provider(tool, folder, plan.held_gap) as (pid, address),
            Site(tool, folder, address, pid, plan).start(key, build) as target,
        ):
            held.append(Site(tool, folder, address, pid, plan).hold(key, target))
        print(f"bench: {key}: {plan.held} streams at once", file=sys.stderr, flush=True)
    return held


def _report(sample: LlmSample) -> None:
    token = sample.times.token
    print(
        f"bench: {sample.row} {sample.round}: first token p50 {token.p50} µs, p99 {token.p99} µs, "
        f"{sample.cpu_per_stream:.2f} ms CPU, foreign load {100 * sample.foreign:.0f} %",
        file=sys.stderr,
        flush=True,
    )


def parse(arguments: Sequence[str]) -> tuple[Plan, bool]:
    parser = argparse.ArgumentParser(prog="bench llm", description=__doc__)
    add, plan = parser.add_argument, Plan()
    add("--rounds", type=int, default=plan.rounds, help="samples of each row [default: %(default)s]")
    add("--duration", type=float, default=plan.duration, help="seconds of a sample [default: %(default)s]")
    add("--rate", type=float, default=plan.rate, help="streams per second [default: %(default)s]")
    add("--held", type=int, default=plan.held, help="streams that are open at once [default: %(default)s]")
    add("--opening", type=float, default=plan.opening, help="seconds in which they are opened [default: %(default)s]")
    add("--record", action="store_true", help=f"write the tables into {README}")
    options = vars(parser.parse_args(arguments))
    record = options.pop("record")
    if record and (changed := [name for name, value in options.items() if value != getattr(plan, name)]):
        parser.error(f"--record: expected a run with the default options, got one with {', '.join(changed)}")
    return Plan(**options), record
