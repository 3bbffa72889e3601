"""A policy that waits, as many do: its rate with default settings, and its effect on other policies.

Rounds under its load alternate with rounds under the same number of requests to a policy that does not wait, so that
the difference is the waiting and not the load.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench import load_tool
from bench.load_tool import Result
from e2e.faults.environment import Environment, Setting, mix
from e2e.faults.figure import Figure
from e2e.faults.measure import Measurement
from e2e.faults.quantile import latencies, lower_quartile, p99
from e2e.kit.answers import Answer
from e2e.kit.gateway import attach
from e2e.kit.load import Flow, run_load

SLEEP = 0.05
CONNECTIONS = 64
WANTED_PER_SECOND = 1000.0
SECONDS, WARMUP_SECONDS = 8.0, 1.0
ROUNDS, ROUND_SECONDS = 6, 2.0
RATE = 200.0  # of the others
SLEEPS = {"asleep": SLEEP, "awake": 0.0}
SETTING = Setting(
    apis=tuple((name, attach("faulty", {"how": "sleep", "seconds": seconds})) for name, seconds in SLEEPS.items())
)


def blocking(environment: Environment) -> list[Figure]:
    alone = sleepers(environment, SECONDS)
    rounds: dict[str, list[list[Answer]]] = {"asleep": [], "awake": []}
    failures = alone.failures
    for _ in range(ROUNDS):
        with run_load(environment.tool, environment.address, mix(RATE)) as load:
            beside = sleepers(environment, ROUND_SECONDS)
            rounds["asleep"].append(load.stop())
        failures += beside.failures
        awake = Flow("awake", "/awake/x", beside.count / beside.seconds)
        rounds["awake"].append(environment.under([*mix(RATE), awake], WARMUP_SECONDS + ROUND_SECONDS))
    wrong = [a for kind in rounds.values() for answers in kind for a in answers if a.outcome != "200"]
    return [
        Figure("ms for each right answer", 1000 * alone.seconds / alone.count, 1000 / WANTED_PER_SECOND),
        Figure("p99, s", alone.p99 / 1e6),
        Figure("refused", failures, 0),
        *(Figure(f"p99 of {flow.name} against the same load awake", ratio(rounds, flow.name)) for flow in mix(RATE)),
        Figure("answers of others other than 200", len(wrong), 0),
    ]


def sleepers(environment: Environment, seconds: float, api: str = "asleep") -> Result:
    """The result of a closed loop of requests to the policy that sleeps. Failures include those of the warm-up."""
    load = load_tool.Load(f"http://{environment.address}/{api}/x", CONNECTIONS, WARMUP_SECONDS, seconds)
    with tempfile.TemporaryDirectory(prefix="blocking-") as folder:
        return load_tool.generate(environment.tool, load, Path(folder), lambda _: None, lambda _: None)


def ratio(rounds: dict[str, list[list[Answer]]], flow: str) -> float:
    asleep, awake = (quiet_p99(rounds[kind], flow) for kind in ("asleep", "awake"))
    return asleep / awake


def quiet_p99(rounds: Sequence[Sequence[Answer]], flow: str) -> float:
    return lower_quartile([p99(latencies(answers, flow=flow)) for answers in rounds])


BLOCKING = Measurement(f"a policy that sleeps 50 ms, {CONNECTIONS} connections", blocking, SETTING)
