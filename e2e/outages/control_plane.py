"""Controllers and their PostgreSQL go away and come back, under traffic and writes."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx

from e2e.kit.gateway import Json
from e2e.kit.load import pause
from e2e.outages.report import Result, show
from e2e.outages.stage import Stage, controller_warnings, flags_of, keep_log, staged, wait_for
from e2e.outages.writers import Site

AWAY_SECONDS, QUIET_SECONDS = 4.0, 2.0
"""How long a database is away, and the load before each outage."""
NOTICED_SECONDS = 20.0
"""Within which `gatewright status` reports that the controller has no database."""
MOST_WARNINGS = 12
"""Of a controller, about one outage: one line for each reason."""
CONVERGED_SECONDS, ROOM = 2.0, 5.0
"""After the return; and some more on a busy machine: so many times what it takes undisturbed."""


@dataclass(frozen=True)
class Outage:
    """cause: breaks something; returns when what went away was there again. check: what else is not as promised."""

    name: str
    cause: Callable[[Stage, list[str]], float]


def restart_controllers(stage: Stage, sites: Sequence[Site], number: int) -> float:
    """Returns when the last of them answers again."""
    before = {site.name: site.gateway.kill("controller", number) for site in sites}
    for site in sites:
        wait_for("the controller is restarted", partial(is_restarted, site, before[site.name]))
    return stage.timeline.note("the controller is back")


def is_restarted(site: Site, killed: int) -> bool:
    """Whether another process answers, of whatever health."""
    if site.gateway.pid("controller") in {None, killed}:
        return False
    try:
        with site.client() as client:
            return client.get("/healthz").status_code == 200
    except (httpx.TransportError, OSError, ValueError):
        return False


def restart_database(stage: Stage, _: list[str]) -> float:
    """Away for a moment."""
    stage.servers[0].stop()
    pause(AWAY_SECONDS)
    stage.servers[0].start()
    return stage.timeline.note("PostgreSQL is back")


def keep_database_away(stage: Stage, mistakes: list[str]) -> float:
    """Until both nodes report it."""
    stage.servers[0].stop()
    since = time.monotonic()
    for site in stage.sites:
        left = NOTICED_SECONDS - (time.monotonic() - since)
        try:
            wait_for("status reports it", partial(reports_database, site), max(left, 1.0))
        except AssertionError:
            mistakes.append(f"`gatewright status` of {site.name} does not report it in {NOTICED_SECONDS:g} s")
        mistakes += not_ready(site)
    stage.servers[0].start()
    return stage.timeline.note("PostgreSQL is back")


def restart_all(stage: Stage, mistakes: list[str]) -> float:
    """Controllers are killed while PostgreSQL is away, so that they start without it."""
    stage.servers[0].stop()
    restart_controllers(stage, stage.sites, signal.SIGKILL)
    for site in stage.sites:
        mistakes += not_ready(site)
    pause(AWAY_SECONDS)
    stage.servers[0].start()
    return stage.timeline.note("PostgreSQL is back")


def promote(stage: Stage, _: list[str]) -> float:
    """The primary is killed, and the standby takes its place."""
    primary, standby = stage.servers
    primary.kill()
    stage.timeline.note("the primary is killed")
    standby.promote()
    stage.servers.reverse()
    return stage.timeline.note("the standby is promoted")


def reports_database(site: Site) -> bool:
    """Whether `gatewright status` says that the controller has no database."""
    command = ["gatewright", "status", "--run-dir", str(site.gateway.run_dir), "--json"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    shortcomings = json.loads(result.stdout or "{}").get("shortcomings", [])
    return result.returncode == 3 and any("database" in text for text in shortcomings)


def not_ready(site: Site) -> list[str]:
    """A node serves without its controller, and is ready."""
    answer = httpx.get(f"http://127.0.0.1:{site.admin_port}/ready", timeout=10)
    return [] if answer.status_code == 200 else [f"/ready of {site.name} answers {answer.status_code} {answer.text}"]


OUTAGES = [
    Outage("one controller is ended", lambda stage, _: restart_controllers(stage, stage.sites[:1], signal.SIGTERM)),
    Outage("one controller is killed", lambda stage, _: restart_controllers(stage, stage.sites[:1], signal.SIGKILL)),
    Outage("both controllers are killed", lambda stage, _: restart_controllers(stage, stage.sites, signal.SIGKILL)),
    Outage("PostgreSQL is restarted", restart_database),
    Outage("PostgreSQL is away for longer", keep_database_away),
    Outage("controllers start without PostgreSQL", restart_all),
    Outage("the standby is promoted", promote),
]
"""The last one can happen once."""


def run(tool: Path, build: Path, words: Sequence[str], rounds: int) -> list[Result]:
    """Causes the outages whose names have all the words; the last result is of the whole run."""
    chosen = [outage for outage in OUTAGES if all(word in outage.name for word in words)]
    if not chosen:
        return []
    with staged(tool, build) as stage:
        with stage.loaded():
            results = [
                show(cause(stage, outage)) for outage in chosen for _ in range(1 if outage.cause is promote else rounds)
            ]
            pause(QUIET_SECONDS)
        return [*results, show(account(stage, results))]


def cause(stage: Stage, outage: Outage) -> Result:
    """One outage under load, and what came of it."""
    pause(QUIET_SECONDS)
    mistakes: list[str] = []
    undisturbed = max(stage.converge(time.time()).values(), default=0.0)
    limit = CONVERGED_SECONDS + ROOM * undisturbed
    began = stage.timeline.note(outage.name)
    returned = outage.cause(stage, mistakes)
    converged = stage.converge(returned)
    stage.timeline.note("all nodes have converged")
    mistakes += [
        f"{name} has converged {seconds:.2f} s after the return, expected {limit:.2f} s"
        for name, seconds in converged.items()
        if seconds > limit
    ]
    mistakes += [f"{site.name} has not converged" for site in stage.sites if site.name not in converged]
    figures = {"away, s": returned - began, "converged, s": max(converged.values(), default=0.0)}
    figures["undisturbed, s"] = undisturbed
    for site in stage.sites:
        warnings = controller_warnings(site.gateway, began)
        figures[f"warnings of {site.name}"] = float(len(warnings))
        if len(warnings) > MOST_WARNINGS:
            mistakes.append(f"the controller of {site.name} logged {len(warnings)} warnings: {summary(warnings)}")
    writes = [write for write in stage.journal.writes if write.at >= began]
    for kind in ("acknowledged", "refused", "failed", "unknown"):
        figures[kind] = float(sum(write.outcome == kind for write in writes))
    return Result(outage.name, figures, mistakes)


def summary(warnings: Sequence[Json]) -> str:
    """The sentences, and how often each was logged."""
    counts: dict[str, int] = {}
    for record in warnings:
        text = f"{record.get('message')} {str(record.get('reason', ''))[:100]}".strip()
        counts[text] = counts.get(text, 0) + 1
    return "; ".join(f"{text} ×{count}" for text, count in sorted(counts.items(), key=lambda pair: -pair[1])[:6])


def account(stage: Stage, results: Sequence[Result]) -> Result:
    """All requests and writes of the run: what was lost."""
    failures, by_name = stage.traffic.failures(), {site.name: site for site in stage.sites}
    mistakes = [
        *(
            f"{stage.timeline.describe(failure)}; {flags_of(by_name[failure.target.node], failure)}"
            for failure in failures
        ),
        *stage.mistakes(),
        *sorted(set(stage.journal.improper)),
    ]
    slowest = max((write.ended - write.at for write in stage.journal.writes if write.outcome == "failed"), default=0.0)
    figures = {
        "requests": float(len(stage.traffic.requests)),
        "not 200": float(len(failures)),
        "writes": float(len(stage.journal.writes)),
        "acknowledged": float(sum(write.outcome == "acknowledged" for write in stage.journal.writes)),
        "refused": float(sum(write.outcome == "refused" for write in stage.journal.writes)),
        "slowest 503 of a write, s": slowest,
        "requests sent late": float(stage.traffic.late),
    }
    if mistakes or any(result.mistakes for result in results):
        mistakes += map(keep_log, stage.sites)
    return Result("all requests and writes", figures, mistakes)
