"""The command: measures all rows and prints the table; fails on wrong answers. --record writes it into the README."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime

from bench import (
    campaign,
    comparison,
    costs,
    edit,
    goal,
    goals,
    history,
    in_envoy,
    machine,
    plot,
    ratios,
    recording,
    report,
    sanity,
    secure,
    settings,
    shipped,
    streams,
    table,
    telemetry,
    traces,
)
from bench.error import BenchError
from bench.executor import command as executors
from bench.llm import command as llm
from bench.nodes import command as nodes
from bench.sample import Sample
from bench.scale import command as scale
from bench.settings import README, Settings


def main() -> None:
    """Exits with 1, and records nothing, after wrong answers or, with --short, regressions."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # unwinds the `with` blocks, which stop all processes
    if command := COMMANDS.get(next(iter(sys.argv[1:]), "")):
        run_command(command, sys.argv[2:])
        return
    chosen = settings.parse(sys.argv[1:])
    try:
        if chosen.record and chosen.compare and not history.is_kept(chosen, machine.commit()):
            raise BenchError(f"--record: expected {history.EXPECTED}")
        samples = take_samples(chosen)
        section = "\n\n".join(render(samples, chosen))
        print(section)
        if mistakes := find_defects(samples, chosen):
            raise BenchError("\n".join(mistakes))
        write_down(samples, chosen, section)
    except BenchError as error:
        sys.exit(f"bench: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


def write_down(samples: Sequence[Sample], chosen: Settings, section: str) -> None:
    """With --record, writes the files of the repository that have figures. Without it no file of it changes.

    A comparison adds a line to the history; a run of both modes writes its section of the page; any other run draws
    the plot, and then writes the page that shows it.
    """
    if not chosen.record:
        return
    if chosen.compare:
        history.append(history.line(samples, machine.commit(), datetime.now(UTC).date()))
        return
    if chosen.in_envoy:
        report.write(README, section, report.IN_ENVOY_BEGIN, report.IN_ENVOY_END)
        return
    plot.write(samples, chosen.rows)
    report.write(README, section)
    ratios.write(samples)


COMMANDS = {
    "executor": executors.main,
    "costs": costs.main,
    "edit": edit.main,
    "llm": llm.main,
    "nodes": nodes.main,
    "recording": recording.main,
    "scale": scale.main,
    "shipped": shipped.main,
    "streams": streams.main,
    "tls": secure.main,
    "telemetry": telemetry.main,
    "traces": traces.main,
}
"""Other measurements: executors without a gateway, the cost of an idle gateway and of its log lines, the time until an
edit is live, streamed answers of a language model beside LiteLLM's proxy, many nodes of one controller, a node with
many APIs, and the cost of recordings, shipped policies, streams and large bodies, TLS, metrics, and traces."""


def run_command(command: Callable[[Sequence[str]], None], arguments: Sequence[str]) -> None:
    """Runs one of COMMANDS."""
    try:
        command(arguments)
    except BenchError as error:
        sys.exit(f"bench: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


def take_samples(chosen: Settings) -> list[Sample]:
    """Takes all samples and prints a line on standard error for each."""
    print("bench: building and starting all rows …", file=sys.stderr, flush=True)
    amount = chosen.rounds * sum(len(chosen.measured_at(count)) for count in chosen.connections)
    samples = list[Sample]()
    for sample in campaign.run(chosen):
        samples.append(sample)
        print(f"bench: {len(samples)}/{amount} {progress(sample)}", file=sys.stderr, flush=True)
    return samples


def render(samples: Sequence[Sample], chosen: Settings) -> Iterator[str]:
    """The machine and the settings, the goals or the comparison, and all figures."""
    yield machine.describe(chosen, sys.argv[1:])
    if chosen.compare:
        yield comparison.markdown(samples, chosen)
    elif chosen.in_envoy:
        yield in_envoy.markdown(samples, chosen)
    elif goals.CONNECTIONS in chosen.connections and not chosen.short:
        yield f"### Goals\n\n{goal.markdown(goals.goals(samples))}"
    if plot.is_drawn(chosen):
        yield plot.SHOWN
    yield table.markdown(samples, chosen)


def progress(sample: Sample) -> str:
    """A line about a sample."""
    wrong = f", {sample.result.failures} wrong answers" if sample.result.failures else ""
    figures = f"{sample.rate:,.0f} req/s, p50 {sample.result.p50} µs, {sample.total:.0f} µs CPU"
    return f"{sample.row} at {sample.connections}: {figures}, foreign load {100 * sample.foreign:.0f} %{wrong}"


def find_defects(samples: Sequence[Sample], chosen: Settings) -> list[str]:
    """Wrong answers and regressions, for which the figures are not recorded."""
    regressions = ratios.find_regressions(ratios.costs_of(samples), ratios.read()) if chosen.short else ()
    return [*sanity.wrong_answers(samples), *regressions]


if __name__ == "__main__":
    main()
