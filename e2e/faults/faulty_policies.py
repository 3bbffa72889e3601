"""Policies that harm: on an API of their own, while the others must not notice, or not for long."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from functools import partial

from e2e.faults.contract import Contract, Fault, Outcomes
from e2e.faults.environment import Setting, Site
from e2e.faults.kills import EXECUTOR, POLICY_ERRORS
from e2e.faults.load import Flow
from e2e.faults.row import Row
from e2e.gateway import attach

HARM = ("harm:v1.0.0", "harm")
QUARANTINE = "policy under quarantine: executor processes die while it runs"
MEMORY = "256MiB"  # at twice as much, allocations fail
EXCEPTION: Outcomes = frozenset({"500"})
TIMEOUT: Outcomes = frozenset({"504"})
GONE: Outcomes = frozenset({"503"})
MOST_DEATHS = 5  # three confine the policy; a probe or two follow


def setting(how: str, *options: str, **params: object) -> Setting:
    """A site with an API "harm", whose policy does so."""
    return Setting(options=options, apis=(("harm", attach("harm", {"how": how, **params})),))


def ask(count: int, seconds: float) -> Callable[[Site], Fault]:
    """So many requests to the harmful API, evenly over so many seconds; the fault ends with the last answer."""
    return partial(Site.ask, flow=Flow("harm", "/harm/x", rate=count / seconds, count=count))


def still_runs(site: Site) -> list[str]:
    restarts = site.gateway.process_status(EXECUTOR)["restarts"]
    return [f"expected the executor to live on, it was restarted {restarts} times"] if restarts else []


def is_confined(site: Site) -> list[str]:
    """Few deaths, and the gateway says of which policy."""
    deaths = site.gateway.process_status(EXECUTOR)["restarts"]
    status = subprocess.run(
        ["gatewright", "status", "--json", "--run-dir", str(site.gateway.run_dir)], capture_output=True, check=False
    )
    named = {(one["policy"], one["api"]) for one in json.loads(status.stdout)["quarantined"]}
    logged = {(one["policy"], one["api"]) for one in site.gateway.logged(message=QUARANTINE)}
    return [
        *([f"expected at most {MOST_DEATHS} deaths, got {deaths}"] if deaths > MOST_DEATHS else []),
        *([f"expected the status to name the policy alone, got {named}"] if named != {HARM} else []),
        *([f"expected the log to name the policy alone, got {logged}"] if logged != {HARM} else []),
    ]


def names_the_policy(site: Site) -> list[str]:
    """The log must tell which policy it was."""
    if any("harm" in str(record) for record in site.gateway.records() if record.get("level") in {"warning", "error"}):
        return []
    return ["expected a warning or an error in the log that names the policy harm, found none"]


def survived(site: Site) -> list[str]:
    return [*still_runs(site), *names_the_policy(site)]


ROWS = [
    Row(
        "50 hung calls of one policy",
        ask(50, 0.1),
        Contract(recovery=0.0, always={"harm": TIMEOUT | GONE}),
        setting("sleep", seconds=8),
        calm=10.0,
    ),
    Row(
        "a policy that burns CPU for 5 s",
        ask(1, 1.0),
        Contract(recovery=1.0, always={"harm": TIMEOUT}),
        setting("burn", seconds=5),
        calm=6.0,
        check=still_runs,
    ),
    Row(
        "a policy that raises SystemExit",
        ask(20, 2.0),
        Contract(always={"harm": EXCEPTION}),
        setting("raise-exit"),
        check=survived,
    ),
    Row(
        "a policy that recurses without end",
        ask(20, 2.0),
        Contract(always={"harm": EXCEPTION}),
        setting("recurse"),
        check=survived,
    ),
    Row(
        "a policy that calls os._exit",
        ask(1, 1.0),
        Contract(meanwhile={"python": POLICY_ERRORS}, always={"harm": GONE}),
        setting("exit"),
    ),
    Row(
        "a policy that always calls os._exit, at 20/s",
        ask(200, 10.0),
        Contract(recovery=1.0, meanwhile={"python": POLICY_ERRORS}, always={"harm": GONE}),
        setting("exit"),
        check=is_confined,
    ),
    Row(
        "a policy that segfaults in C",
        ask(1, 1.0),
        Contract(meanwhile={"python": POLICY_ERRORS}, always={"harm": GONE}),
        setting("segfault"),
        check=names_the_policy,
    ),
    Row(
        "a policy that allocates without end",
        ask(1, 1.0),
        Contract(meanwhile={"python": POLICY_ERRORS}, always={"harm": EXCEPTION | GONE | TIMEOUT}),
        setting("allocate", "--executor-memory-limit", MEMORY),
        check=names_the_policy,
    ),
    Row(
        "20 MB replies",
        ask(6, 3.0),
        Contract(always={"harm": frozenset({"200"})}),
        setting("reply", megabytes=20),
        check=still_runs,
    ),
    Row(
        "replies beyond any limit (80 MB)",
        ask(3, 3.0),
        Contract(always={"harm": EXCEPTION}),
        setting("reply", megabytes=80),
        check=survived,
    ),
    Row(
        "non-UTF-8 headers at 100/s",
        partial(Site.ask, flow=Flow("odd", "/odd/x", 100.0, headers=(("x-bin", "\xff\xfe"),), count=500)),
        setting=Setting(apis=(("odd", attach("see-bytes")),)),
    ),
]
