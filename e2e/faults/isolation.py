"""A policy that sleeps on one route: what the others notice of it.

Short rounds with and without the sleep alternate at the same rates, so that what differs is the sleep and not the
machine. Other work of the machine can only make a round's p99 larger: the quieter rounds of both kinds are compared. A
third kind, without the sleep like the first, says by how much rounds differ that should not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from e2e.faults.environment import Environment, Setting, mix
from e2e.faults.figure import Figure
from e2e.faults.measure import Measurement
from e2e.faults.quantile import latencies, lower_quartile, p99
from e2e.faults.slowdowns import slowdown_figures
from e2e.kit.answers import Answer
from e2e.kit.gateway import attach
from e2e.kit.load import Flow

ROUNDS = 15
ROUND_SECONDS = 1.5
RATE = 300.0
SLEEPY_RATE = 200.0
SLEEP = (
    0.05 + 0.5 / SLEEPY_RATE
)  # with exactly 50 ms each would wake when the next request comes: twice the work at once
LIMIT = 1.3
SLEEPS = {"awake": 0.0, "asleep": SLEEP, "control": 0.0}

Rounds = Mapping[str, Sequence[Sequence[Answer]]]


def alternate(environment: Environment) -> list[Figure]:
    rounds: dict[str, list[list[Answer]]] = {name: [] for name in SLEEPS}
    for number in range(ROUNDS):
        for name in [*SLEEPS][:: -1 if number % 2 else 1]:
            flows = [*mix(RATE), Flow(name, f"/{name}/x", SLEEPY_RATE)]
            rounds[name].append(environment.under(flows, ROUND_SECONDS))
    wrong = [a for kind in rounds.values() for answers in kind for a in answers if a.outcome != "200"]
    slowdowns = {flow.name: ratio(rounds, "asleep", flow.name) for flow in mix(RATE)}
    return [
        *slowdown_figures(slowdowns, LIMIT),
        *(Figure(f"p99 of {flow}, undisturbed twice", ratio(rounds, "control", flow)) for flow in slowdowns),
        Figure("answers other than 200", len(wrong), 0),
    ]


def ratio(rounds: Rounds, kind: str, flow: str) -> float:
    quiet, undisturbed = (
        lower_quartile([p99(latencies(answers, flow=flow)) for answers in rounds[name]]) for name in (kind, "awake")
    )
    return quiet / undisturbed


ISOLATION = Measurement(
    f"a policy that sleeps 50 ms at {SLEEPY_RATE:g}/s",
    alternate,
    Setting(apis=tuple((name, attach("faulty", {"how": "sleep", "seconds": s})) for name, s in SLEEPS.items())),
)
