"""A policy that sleeps on one route: what the others notice of it.

Rounds with and without the sleep alternate, at the same rates, so that what differs is the sleep and not the machine.
"""

from __future__ import annotations

from e2e.faults.answers import Answer
from e2e.faults.figure import Figure
from e2e.faults.load import Flow
from e2e.faults.measure import Measurement
from e2e.faults.quantile import latencies, p99, ratio_of_medians
from e2e.faults.site import Ground, Setting, mix
from e2e.gateway import attach

ROUNDS = 9
ROUND_SECONDS = 3.0
RATE = 300.0
SLEEPY_RATE = 200.0
LIMIT = 1.3
OTHERS = ("go", "python", "bare")
SLEEPS = {"awake": 0.0, "asleep": 0.05}


def alternate(place: Ground) -> list[Figure]:
    rounds: dict[str, list[list[Answer]]] = {name: [] for name in SLEEPS}
    for _ in range(ROUNDS):
        for name, answers in rounds.items():
            flows = [*mix(RATE), Flow(name, f"/{name}/x", SLEEPY_RATE)]
            answers.append(place.under(flows, ROUND_SECONDS))
    wrong = [a for answers in rounds.values() for one in answers for a in one if a.outcome != "200"]
    return [
        *(ratio(rounds, flow) for flow in ("go", "python", "bare")),
        Figure("answers other than 200", len(wrong), 0),
    ]


def ratio(rounds: dict[str, list[list[Answer]]], flow: str) -> Figure:
    asleep, awake = ([p99(latencies(one, flow=flow)) for one in rounds[name]] for name in ("asleep", "awake"))
    return Figure(f"p99 of {flow} against undisturbed", ratio_of_medians(asleep, awake), LIMIT)


ISOLATION = Measurement(
    f"a policy that sleeps 50 ms at {SLEEPY_RATE:g}/s",
    alternate,
    Setting(apis=tuple((name, attach("harm", {"how": "sleep", "seconds": s})) for name, s in SLEEPS.items())),
)
