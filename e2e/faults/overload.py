"""Three times the load that a policy can take: accepted requests are served as usual, the rest is refused at once."""

from __future__ import annotations

import time

from e2e.faults.environment import Environment, Setting
from e2e.faults.figure import Figure
from e2e.faults.measure import Measurement
from e2e.faults.quantile import latencies, p99
from e2e.kit.gateway import attach
from e2e.kit.load import Flow, run_load
from e2e.kit.processes import resident_memory

SECONDS_EACH = 0.2
WORKERS = 32  # and no more of them, or the excess here would find slots: it waits
SLOTS = WORKERS // 2  # what an attachment gets that does not say
CAPACITY = SLOTS / SECONDS_EACH
USUAL_SECONDS = 12.0
OVERLOAD_SECONDS = 60.0
SAMPLES = 12
LATENCY_LIMIT, REFUSAL_SECONDS, GROWTH_LIMIT, SERVED_SHARE = 2.0, 0.05, 1.1, 0.9


def overload(environment: Environment) -> list[Figure]:
    usual = environment.under([flow(0.8)], USUAL_SECONDS)
    with run_load(environment.tool, environment.address, [flow(3.0), BARE]) as load:
        memory = [resident_after(environment, OVERLOAD_SECONDS / SAMPLES) for _ in range(SAMPLES)]
        answers = load.stop()
    served, refused, bare = (
        latencies(answers, flow="faulty"),
        latencies(answers, "503", "faulty"),
        latencies(answers, flow="bare"),
    )
    other = len(answers) - len(served) - len(refused) - len(bare)
    return [
        Figure("p99 of the accepted against 0.8× capacity", p99(served) / p99(latencies(usual)), LATENCY_LIMIT),
        Figure("p99 of refusals beyond a route's without policies, s", p99(refused) - p99(bare), REFUSAL_SECONDS),
        Figure("served per second", len(served) / OVERLOAD_SECONDS),
        Figure("share of the capacity not served", 1 - len(served) / OVERLOAD_SECONDS / CAPACITY, 1 - SERVED_SHARE),
        Figure("answers other than 200 and 503", other, 0),
        *(growth(name, [sample[name] for sample in memory]) for name in memory[0]),
    ]


BARE = Flow("bare", "/bare/x", 30.0)  # how long any answer takes on this machine now


def flow(load: float) -> Flow:
    return Flow("faulty", "/faulty/x", load * CAPACITY)


def resident_after(environment: Environment, seconds: float) -> dict[str, int]:
    time.sleep(seconds)
    return {name: memory for name, memory in resident_memory(environment.gateway).items() if name != "controller"}


def growth(name: str, samples: list[int]) -> Figure:
    """The last quarter's largest against the first's: flat, whatever the level is."""
    quarter = len(samples) // 4
    return Figure(f"memory of {name}, growth", max(samples[-quarter:]) / max(samples[:quarter]), GROWTH_LIMIT)


OVERLOAD = Measurement(
    f"overload at 3× capacity for {OVERLOAD_SECONDS:g} s",
    overload,
    Setting(
        options=("--py.max-workers", str(WORKERS)),
        apis=(("faulty", attach("faulty", {"how": "sleep", "seconds": SECONDS_EACH})),),
    ),
)
