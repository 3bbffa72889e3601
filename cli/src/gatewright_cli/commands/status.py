"""How a run is, from what it says of itself: healthy, degraded, not serving, and why."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from enum import IntEnum
from typing import Any

RunStatus = dict[str, Any]
"""status.json as an object; see NodeRun."""
NEEDED = ("engine", "envoy")
"""Processes without which requests, or those on routes with policies, are not answered."""
RECENT_SECONDS = 60.0
"""For so long after it is back, a process is a shortcoming: one that ends again and again is ready in between."""


class Health(IntEnum):
    """As an exit status."""

    HEALTHY = 0
    NOT_SERVING = 1
    DEGRADED = 3

    @property
    def word(self) -> str:
        """For people and for JSON: "healthy", "not serving", "degraded"."""
        return self.name.lower().replace("_", " ")


def health(status: RunStatus, now: datetime | None = None) -> Health:
    """NOT_SERVING: it starts or stops, or Envoy or the engine is away. DEGRADED: it serves, with shortcomings."""
    away = any(each["state"] != "ready" for each in _staying(status) if each["name"] in NEEDED)
    if status["state"] != "running" or away:
        return Health.NOT_SERVING
    return Health.DEGRADED if shortcomings(status, now) else Health.HEALTHY


def shortcomings(status: RunStatus, now: datetime | None = None) -> list[str]:
    """A few words for each kind of thing that is not as it should be. now: the present time where it is None."""
    return list(_shortcomings(status, now or datetime.now(UTC)))


def _shortcomings(status: RunStatus, now: datetime) -> Iterator[str]:
    if status["state"] != "running":
        yield f"the run is {status['state']}"
    yield from (f"{each['name']} is {each['state']}" for each in _staying(status) if each["state"] != "ready")
    yield from _restarted(status, now)
    apis = status["apis"]
    if down := sum(api["state"] != "deployed" for api in apis):
        yield f"{down} of {len(apis)} APIs not deployed"
    if trouble := status.get("databaseTrouble"):
        yield trouble
    elif refused := len(status["refusedFiles"]):  # without a database, files wait for one
        yield f"{refused} API {'file' if refused == 1 else 'files'} refused"
    if failing := sum(one["failures"] > 0 for one in status.get("acme", [])):
        yield f"{failing} {'certificate' if failing == 1 else 'certificates'} not obtained or renewed"
    if quarantined := len(status.get("quarantined", [])):
        yield f"{quarantined} policy {'instance' if quarantined == 1 else 'instances'} under quarantine"
    yield from (
        f"{note['title']} ({note['reason']})" for note in degrading(status) if note["about"]["kind"] != "policy"
    )
    yield from _expired(status)


def degrading(status: RunStatus) -> list[dict[str, Any]]:
    """The engine's notes that make the node degraded: not those of upstreams."""
    return [note for note in status.get("notes", []) if note["degraded"]]


def _expired(status: RunStatus) -> Iterator[str]:
    """Certificates and authorities that the engine has no note of: those that Envoy has, and the Gateway no longer."""
    noted = {note["about"]["name"] for note in degrading(status) if note["code"] == "certificate_expired"}
    for certificate in status.get("certificates", []):
        if certificate["daysLeft"] < 0 and not (certificate["kind"] == "certificate" and certificate["name"] in noted):
            yield f"{certificate['kind']} {certificate['name']} has expired"


def _restarted(status: RunStatus, now: datetime) -> Iterator[str]:
    """Processes that are ready, and ended a short while ago."""
    for each in _staying(status):
        ages = [(now - datetime.fromisoformat(time)).total_seconds() for time in each.get("restartedAt", [])]
        recent = [max(age, 0.0) for age in ages if age < RECENT_SECONDS]
        if recent and each["state"] == "ready":
            often = f" ({len(recent)} times in the last minute)" if len(recent) > 1 else ""
            yield f"{each['name']} was restarted {min(recent):.0f} s ago{often}"


def _staying(status: RunStatus) -> list[dict[str, Any]]:
    return [each for each in status["processes"] if not each["leaving"]]
