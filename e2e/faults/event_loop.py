"""An async policy that blocks the event loop: what other async policies notice of it, once it has a loop of its own.

Rounds with it and without it alternate, as in isolation.py.
"""

from __future__ import annotations

from e2e.faults.environment import Environment, Setting
from e2e.faults.figure import Figure
from e2e.faults.isolation import ROUND_SECONDS, ratio
from e2e.faults.measure import Measurement
from e2e.kit.answers import Answer
from e2e.kit.gateway import attach, eventually
from e2e.kit.load import Flow

ROUNDS = 9
BESIDE = Flow("async", "/async/x", 200.0)
BLOCKING = Flow("blocking", "/blocking/x", 20.0)  # 0.3 s each: there are always some
FIRST_SECONDS = 3.0  # until it is caught
LIMIT = 2.0
KINDS = {"awake": [BESIDE], "blocked": [BESIDE, BLOCKING], "control": [BESIDE]}


def alternate(environment: Environment) -> list[Figure]:
    first = environment.under(KINDS["blocked"], FIRST_SECONDS)
    eventually("it has a loop of its own", lambda: has_logged(environment, "has an event loop of its own"))
    rounds: dict[str, list[list[Answer]]] = {name: [] for name in KINDS}
    for number in range(ROUNDS):
        for name in [*KINDS][:: -1 if number % 2 else 1]:
            rounds[name].append(environment.under(KINDS[name], ROUND_SECONDS))
    answers = [
        answer for kind in rounds.values() for answers in kind for answer in answers if answer.flow == BESIDE.name
    ]
    names_it, names_others = (
        has_logged(environment, f"policy linger:v1.0.0 of API {name} blocks") for name in ("blocking", "async")
    )
    return [
        Figure("p99 of async against undisturbed", ratio(rounds, "blocked", BESIDE.name), LIMIT),
        Figure("p99 of async, undisturbed twice", ratio(rounds, "control", BESIDE.name)),
        Figure("answers of async other than 200", sum(answer.outcome != "200" for answer in answers), 0),
        Figure("the same, before it was caught", sum(a.outcome != "200" for a in first if a.flow == BESIDE.name)),
        Figure("the log does not name it alone", 0 if names_it and not names_others else 1, 0),
    ]


def has_logged(environment: Environment, words: str) -> bool:
    return any(words in str(record.get("message")) for record in environment.gateway.records())


EVENT_LOOP = Measurement(
    "an async policy that blocks the event loop for 0.3 s",
    alternate,
    Setting(
        apis=(
            ("async", attach("linger", {"seconds": 0.005})),
            ("blocking", attach("linger", {"seconds": 0.3, "blocks": True})),
        )
    ),
)
