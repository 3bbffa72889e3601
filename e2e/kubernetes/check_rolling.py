"""A rolling upgrade of all that the chart runs, under load and disturbed: no request through the balancer fails.

The balancer is the lab's for a Service: it gives a new connection to a pod that is ready. Requests of clients that keep
connections, that open one for each request, and that send a GET again whose connection broke are counted apart: no
balancer hides that a killed node's connections die, which the last kind of client alone does not notice.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import httpx
import postgresql
import postgresql_server
import pytest

from bench import load_tool
from e2e.kit.answers import Answer
from e2e.kit.gateway import Json, api, attach, eventually
from e2e.kit.load import Flow, pause, run_load
from e2e.kit.places import ROOT
from e2e.kit.writes import Outcome, Write, find_mistakes, history_of
from e2e.kubernetes.before import build, checkout
from e2e.kubernetes.fleet import SERVICE, TRAFFIC_PORT, UPSTREAM, Fleet, deploy
from e2e.kubernetes.lab import Cluster, cluster, image_of_the_product, images_of_the_suite, refusal
from e2e.kubernetes.lab.network import HOST
from e2e.kubernetes.phases import Phases, failed
from e2e.kubernetes.suite import OUTPUT

APIS = ("kept-0", "kept-1", "anew", "again")
FLOWS = [
    Flow("kept", "/kept-0/x", 100),
    Flow("kept", "/kept-1/x", 100),
    Flow("anew", "/anew/x", 50, headers=(("connection", "close"),)),
    Flow("again", "/again/x", 50, retries=5),
]
"""300 requests a second: on connections that are kept, on a new one each, and sent again where the connection broke."""
DATABASE_PORT = 5432
BEFORE_IMAGE = "gatewright:before"
"""Its new nodes are ready before they serve all that they are sent: during the upgrade none of them is made anew."""
BEFORE_SECONDS, BETWEEN_SECONDS, AWAY_SECONDS = 5.0, 4.0, 2.0
"""Of load before the upgrade, between two disturbances, and without the database."""
WRITE_SECONDS = 0.5
EVICTIONS, RESTARTS = 5, 2
SEED = 7
"""Of the choice of pods."""


class Prepared(NamedTuple):
    """tool: the load generator. chart: of the release before."""

    cluster: Cluster
    tool: Path
    chart: Path


@pytest.fixture(scope="module", name="prepared")
def _prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prepared]:
    """A cluster of this test's own, for it has other images. All is built before: its network reaches no registry."""
    reason = refusal()
    assert reason is None, f"no cluster: {reason}"
    tool, before = load_tool.build(tmp_path_factory.mktemp("load")), checkout()
    images = {
        **images_of_the_suite(),
        BEFORE_IMAGE: image_of_the_product(build(before, "before"), before),
        "gatewright:now": image_of_the_product(build(ROOT, "now")),
    }
    postgresql.programs()
    with cluster(images, OUTPUT / "rolling-logs") as made:
        yield Prepared(made, tool, before / "deploy" / "helm" / "gatewright")


@pytest.fixture(name="fleet")
def _fleet(prepared: Prepared) -> Iterator[Fleet]:
    """The release before, with all APIs."""
    with postgresql_server.server(DATABASE_PORT, address=HOST) as database:
        identity = f"{postgresql_server.USER}:{postgresql_server.PASSWORD}"
        url = f"postgresql://{identity}@{HOST}:{DATABASE_PORT}/{postgresql_server.DATABASE}"
        fleet = deploy(prepared.cluster, database, url, "before", prepared.chart)
        with fleet.management() as client:
            for name in APIS:
                client.post("/v1/apis", json=document(name, "first"), params={"reason": "first"}).raise_for_status()
        eventually("all nodes serve all APIs", lambda: fleet.releases(APIS) == {"200 v1.0.0"}, 60)
        yield fleet


def document(name: str, stamp: str) -> Json:
    """An API whose answers have the stamp, and the version of the policy."""
    policies = [attach("add-headers", {"responseHeaders": [{"name": "x-stamp", "value": stamp}]}), attach("release")]
    return api(name, UPSTREAM, policies)


class Writer(threading.Thread):
    """Writes all APIs in turn, each time to either controller."""

    def __init__(self, fleet: Fleet) -> None:
        super().__init__(name="writer")
        self.writes: list[Write] = []
        self._fleet, self._ended = fleet, threading.Event()

    def run(self) -> None:
        number = 0
        while not self._ended.wait(WRITE_SECONDS):
            number += 1
            self.writes.append(self._write(APIS[number % len(APIS)], f"w{number}"))

    def end(self) -> None:
        self._ended.set()
        self.join(60)

    def _write(self, name: str, stamp: str) -> Write:
        began = time.time()
        try:
            with self._fleet.management() as client:
                answer = client.put(f"/v1/apis/{name}", json=document(name, stamp), params={"reason": stamp})
        except httpx.TransportError as error:
            return Write(began, time.time(), "either", name, stamp, 0, "unknown", answer=repr(error))
        text = f"{answer.status_code} {answer.text[:200]}"
        if answer.status_code != 200:
            outcome: Outcome = "unknown" if "not known whether" in answer.text else "failed"
            return Write(began, time.time(), "either", name, stamp, 0, outcome, answer=text)
        revision = answer.json()["status"]["revision"]
        return Write(began, time.time(), "either", name, stamp, 0, "acknowledged", revision, text)


@contextlib.contextmanager
def writing(fleet: Fleet) -> Iterator[list[Write]]:
    """Writes meanwhile; all that was written."""
    writer = Writer(fleet)
    writer.start()
    try:
        yield writer.writes
    finally:
        writer.end()


def upgrade(fleet: Fleet, phases: Phases, chance: random.Random) -> None:
    """All is upgraded at once; meanwhile the database restarts, and pods of either release are evicted."""
    fleet.upgrade("now")
    phases.note("helm upgrade")
    pause(BETWEEN_SECONDS)
    restart_database(fleet, phases)
    evict(fleet, phases, chance)
    fleet.wait_settled()


def evict(fleet: Fleet, phases: Phases, chance: random.Random) -> None:
    """Some pods, one after another, as their PodDisruptionBudgets allow it."""
    for _ in range(EVICTIONS):
        pause(BETWEEN_SECONDS)
        if name := fleet.evict_any(chance, BEFORE_IMAGE):
            phases.note(f"{name} is evicted")


def restart_database(fleet: Fleet, phases: Phases) -> None:
    fleet.database.stop()
    phases.note("PostgreSQL is stopped")
    pause(AWAY_SECONDS)
    fleet.database.start()
    phases.note("PostgreSQL is started")


def kill_nodes(fleet: Fleet, phases: Phases) -> None:
    """One after another, each when all are ready again."""
    for pod in fleet.pods("nodes"):
        name = pod["metadata"]["name"]
        fleet.cluster.runner.kill(pod["metadata"]["namespace"], name)
        phases.note(f"{name} is killed")
        pause(BETWEEN_SECONDS)
        fleet.wait_settled()


def test_an_upgrade_under_load_fails_no_request(fleet: Fleet, prepared: Prepared) -> None:
    chance, phases = random.Random(SEED), Phases()  # noqa: S311 - no secret
    with run_load(prepared.tool, f"{fleet.address(SERVICE)}:{TRAFFIC_PORT}", FLOWS) as load, writing(fleet) as writes:
        load.flowing()
        with phases.phase("the release before"):
            pause(BEFORE_SECONDS)
        with phases.phase("all is upgraded and disturbed"):
            upgrade(fleet, phases, chance)
        with phases.phase("pods are evicted"):
            evict(fleet, phases, chance)
            fleet.wait_settled()
        with phases.phase("PostgreSQL is restarted"):
            for _ in range(RESTARTS):
                restart_database(fleet, phases)
                pause(BETWEEN_SECONDS)
        with phases.phase("nodes are killed"):
            kill_nodes(fleet, phases)
            answers = load.stop()
    lines = [*phases.table(answers), *summary_of(writes)]
    OUTPUT.mkdir(parents=True, exist_ok=True)
    (OUTPUT / "rolling.txt").write_text("\n".join(lines) + "\n")
    print(*lines, sep="\n")
    eventually("all nodes have the new policy", lambda: fleet.releases(APIS) == {"200 v1.1.0"}, 30)
    unexpected = failures(phases, answers)
    assert not unexpected, "\n".join(map(phases.describe, unexpected[:40]))
    with fleet.management() as client:
        history = {name: history_of(client, name) for name in APIS}
    assert not find_mistakes(writes, history)


def failures(phases: Phases, answers: Sequence[Answer]) -> list[Answer]:
    """All but what no balancer hides: connections of killed nodes that break, where the client does not send again."""
    since = phases.phases[-1].began
    return [
        answer
        for answer in failed(answers)
        if answer.ended < since or answer.outcome != "broken" or answer.flow == "again"
    ]


def summary_of(writes: list[Write]) -> list[str]:
    counts = {kind: sum(write.outcome == kind for write in writes) for kind in ("acknowledged", "failed", "unknown")}
    others = [f"    {write.outcome}: {write.answer}" for write in writes if write.outcome != "acknowledged"]
    return [f"writes: {', '.join(f'{count} {kind}' for kind, count in counts.items())}", *others]
