"""A hundred calls that never return: the process is given up, and all else that it held lives on in another."""

from __future__ import annotations

from functools import partial

import httpx

from e2e.faults.contract import Contract
from e2e.faults.environment import LoadedEnvironment, Setting
from e2e.faults.faulty_policies import GONE, TIMEOUT
from e2e.faults.row import Row
from e2e.kit.gateway import attach, eventually
from e2e.kit.load import Flow

CALLS = 100
KEPT = [f"kept-{number}" for number in range(8)]
FOREVER = Flow("faulty", "/faulty/x", rate=200.0, count=CALLS)
APIS = (
    ("faulty", attach("faulty", {"how": "sleep", "seconds": 3600})),
    *((name, attach("mark", {"name": name})) for name in KEPT),
)


def check_replacement(environment: LoadedEnvironment) -> list[str]:
    """Waits for the replacement, then asks every instance for its parameters."""
    eventually("the process is replaced", lambda: environment.gateway.find_records(message="executor replaced"), 30)
    return [*wrong_instances(environment), *missing_in_log(environment)]


def wrong_instances(environment: LoadedEnvironment) -> list[str]:
    answers = {name: answer_of(environment, name) for name in KEPT}
    return [
        f"expected instance {name} to be itself, it answered {order!r}"
        for name, order in answers.items()
        if order != f"{name}()"
    ]


def answer_of(environment: LoadedEnvironment, name: str) -> str:
    return str(httpx.get(f"http://{environment.address}/{name}/x", timeout=10).headers.get("x-order"))


def missing_in_log(environment: LoadedEnvironment) -> list[str]:
    """The log must name policy, attachment and age of the oldest."""
    records = [
        record
        for record in environment.gateway.records()
        if str(record.get("message")).startswith("executions of a policy hang")
    ]
    if any((r["policy"], r["api"]) == ("faulty:v1.0.0", "faulty") and r["instance"] and r["oldest"] for r in records):
        return []
    return [f"expected the log to name policy, API, instance and age of what hangs, got {records}"]


ROWS = [
    Row(
        f"sleep(3600) ×{CALLS} on one attachment",
        partial(LoadedEnvironment.ask, flow=FOREVER),
        Contract(recovery=0.0, always={"faulty": TIMEOUT | GONE}),
        Setting(options=("--py.hung-seconds", "2", "--executor-drain", "2s"), apis=APIS),
        extra_seconds=6.0,
        check=check_replacement,
    ),
]
