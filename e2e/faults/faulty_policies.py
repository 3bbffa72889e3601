"""Faulty policies: on an API of their own, while the others must not notice, or not for long."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from functools import partial

from e2e.faults.contract import Contract, Fault, Outcomes
from e2e.faults.environment import LoadedEnvironment, Setting
from e2e.faults.kills import EXECUTOR, POLICY_ERRORS
from e2e.faults.row import Row
from e2e.kit.gateway import attach
from e2e.kit.load import Flow

FAULTY = ("faulty:v1.0.0", "faulty")
QUARANTINE = "policy under quarantine: executor processes die while it runs"
MEMORY = "256MiB"  # at twice as much, allocations fail
EXCEPTION: Outcomes = frozenset({"500"})
TIMEOUT: Outcomes = frozenset({"504"})
GONE: Outcomes = frozenset({"503"})
MOST_DEATHS = 5  # three put the policy under quarantine; a probe or two follow


def setting(how: str, *options: str, **params: object) -> Setting:
    """An environment with an API "faulty", whose policy does so."""
    return Setting(options=options, apis=(("faulty", attach("faulty", {"how": how, **params})),))


def ask(count: int, seconds: float) -> Callable[[LoadedEnvironment], Fault]:
    """So many requests to the faulty API, evenly over so many seconds; the fault ends with the last answer."""
    return partial(LoadedEnvironment.ask, flow=Flow("faulty", "/faulty/x", rate=count / seconds, count=count))


def still_runs(environment: LoadedEnvironment) -> list[str]:
    restarts = environment.gateway.process_status(EXECUTOR)["restarts"]
    return [f"expected the executor to live on, it was restarted {restarts} times"] if restarts else []


def is_quarantined(environment: LoadedEnvironment) -> list[str]:
    """Few deaths, and the gateway says of which policy."""
    deaths = environment.gateway.process_status(EXECUTOR)["restarts"]
    status = subprocess.run(
        ["gatewright", "status", "--json", "--run-dir", str(environment.gateway.run_dir)],
        capture_output=True,
        check=False,
    )
    quarantines = {(instance["policy"], instance["api"]) for instance in json.loads(status.stdout)["quarantined"]}
    logged = {(record["policy"], record["api"]) for record in environment.gateway.find_records(message=QUARANTINE)}
    return [
        *([f"expected at most {MOST_DEATHS} deaths, got {deaths}"] if deaths > MOST_DEATHS else []),
        *([f"expected the status to name the policy alone, got {quarantines}"] if quarantines != {FAULTY} else []),
        *([f"expected the log to name the policy alone, got {logged}"] if logged != {FAULTY} else []),
    ]


def is_held_once(environment: LoadedEnvironment) -> list[str]:
    """One process is lost, and the log names the policy and the line."""
    gateway = environment.gateway
    lost = [*gateway.find_records(message="executor is replaced"), *gateway.find_records(message="executor is killed")]
    are_named = all(record.get("policy") == FAULTY[0] and "/policy.py:" in str(record.get("at")) for record in lost)
    if len({record["process"] for record in lost}) != 1 or not are_named:  # killed, where its successor takes long
        return [f"expected one executor to be lost, to {FAULTY[0]} at a line of its policy.py, got {lost}"]
    return []


def names_the_policy(environment: LoadedEnvironment) -> list[str]:
    """The log must name the policy."""
    records = environment.gateway.records()
    if any("faulty" in str(record) for record in records if record.get("level") in {"warning", "error"}):
        return []
    return ["expected a warning or an error in the log that names the policy faulty, found none"]


def survived(environment: LoadedEnvironment) -> list[str]:
    return [*still_runs(environment), *names_the_policy(environment)]


ROWS = [
    Row(
        "50 hung calls of one policy",
        ask(50, 0.1),
        Contract(recovery=0.0, always={"faulty": TIMEOUT | GONE}),
        setting("sleep", seconds=8),
        extra_seconds=10.0,
    ),
    Row(
        "a policy that burns CPU for 5 s",
        ask(1, 1.0),
        Contract(recovery=1.0, always={"faulty": TIMEOUT}),
        setting("burn", seconds=5),
        extra_seconds=6.0,
        check=still_runs,
    ),
    Row(
        "a policy that raises SystemExit",
        ask(20, 2.0),
        Contract(always={"faulty": EXCEPTION}),
        setting("raise-exit"),
        check=survived,
    ),
    Row(
        "a policy that recurses without end",
        ask(20, 2.0),
        Contract(always={"faulty": EXCEPTION}),
        setting("recurse"),
        check=survived,
    ),
    Row(
        "a policy that calls os._exit",
        ask(1, 1.0),
        Contract(meanwhile={"python": POLICY_ERRORS}, always={"faulty": GONE}),
        setting("exit"),
    ),
    Row(
        "a policy that always calls os._exit, at 20/s",
        ask(200, 10.0),
        Contract(recovery=1.0, meanwhile={"python": POLICY_ERRORS}, always={"faulty": GONE}),
        setting("exit"),
        check=is_quarantined,
    ),
    Row(
        "a policy that holds the interpreter, at 3/s",
        ask(30, 10.0),
        Contract(recovery=1.0, meanwhile={"python": POLICY_ERRORS}, always={"faulty": TIMEOUT | GONE}),
        setting("hold"),
        check=is_held_once,
    ),
    Row(
        "a policy that segfaults in C",
        ask(1, 1.0),
        Contract(meanwhile={"python": POLICY_ERRORS}, always={"faulty": GONE}),
        setting("segfault"),
        check=names_the_policy,
    ),
    Row(
        "a policy that allocates without end",
        ask(1, 1.0),
        Contract(meanwhile={"python": POLICY_ERRORS}, always={"faulty": EXCEPTION | GONE | TIMEOUT}),
        setting("allocate", "--executor-memory-limit", MEMORY),
        check=names_the_policy,
    ),
    Row(
        "20 MB replies",
        ask(6, 3.0),
        Contract(always={"faulty": frozenset({"200"})}),
        setting("reply", megabytes=20),
        check=still_runs,
    ),
    Row(
        "replies beyond any limit (80 MB)",
        ask(3, 3.0),
        Contract(always={"faulty": EXCEPTION}),
        setting("reply", megabytes=80),
        check=survived,
    ),
    Row(
        "non-UTF-8 headers at 100/s",
        partial(LoadedEnvironment.ask, flow=Flow("odd", "/odd/x", 100.0, headers=(("x-bin", "\xff\xfe"),), count=500)),
        setting=Setting(apis=(("odd", attach("see-bytes")),)),
    ),
]
