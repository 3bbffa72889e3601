"""The health of a run, by its own status: healthy, degraded or not serving, and why."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from enum import IntEnum
from typing import Any

RunStatus = dict[str, Any]
"""status.json as an object; see NodeRun."""
NEEDED = ("engine", "envoy")
"""Without Envoy no request is answered; without the engine none on a route with policies."""
RECENT_SECONDS = 60.0
"""How long a restarted process counts as a shortcoming: one that keeps crashing is ready in between."""


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
    """NOT_SERVING: the run starts or stops, or Envoy or the engine is down. DEGRADED: it serves, with shortcomings."""
    is_down = any(process["state"] != "ready" for process in _current_processes(status) if process["name"] in NEEDED)
    if status["state"] != "running" or is_down:
        return Health.NOT_SERVING
    return Health.DEGRADED if shortcomings(status, now) else Health.HEALTHY


def shortcomings(status: RunStatus, now: datetime | None = None) -> list[str]:
    """A few words for each kind of problem. now: None for the present time."""
    return list(_shortcomings(status, now or datetime.now(UTC)))


def _shortcomings(status: RunStatus, now: datetime) -> Iterator[str]:
    if status["state"] != "running":
        yield f"the run is {status['state']}"
    yield from (
        f"{process['name']} is {process['state']}"
        for process in _current_processes(status)
        if process["state"] != "ready"
    )
    yield from _restarted_processes(status, now)
    apis = status["apis"]
    if undeployed := sum(api["state"] != "deployed" for api in apis):
        yield f"{undeployed} of {len(apis)} APIs not deployed"
    if trouble := status.get("databaseTrouble"):
        yield trouble
    elif refused := len(status["refusedFiles"]):  # without a database, files wait for it
        yield f"{refused} API {'file' if refused == 1 else 'files'} refused"
    if trouble := status.get("stateExportTrouble"):
        yield f"the state is not exported ({trouble})"
    if failing := sum(certificate["failures"] > 0 for certificate in status.get("acme", [])):
        yield f"{failing} {'certificate' if failing == 1 else 'certificates'} not obtained or renewed"
    if quarantined := len(status.get("quarantined", [])):
        yield f"{quarantined} policy {'instance' if quarantined == 1 else 'instances'} under quarantine"
    yield from (
        f"{note['title']} ({note['reason']})" for note in degrading(status) if note["about"]["kind"] != "policy"
    )
    yield from _expired_certificates(status)


def degrading(status: RunStatus) -> list[dict[str, Any]]:
    """The engine's notes that make the node degraded: not those of upstreams."""
    return [note for note in status.get("notes", []) if note["degraded"]]


def _expired_certificates(status: RunStatus) -> Iterator[str]:
    """Certificates and authorities without a note of the engine: Envoy still has them, the Gateway does not."""
    noted = {note["about"]["name"] for note in degrading(status) if note["code"] == "certificate_expired"}
    for certificate in status.get("certificates", []):
        if certificate["daysLeft"] < 0 and not (certificate["kind"] == "certificate" and certificate["name"] in noted):
            yield f"{certificate['kind']} {certificate['name']} has expired"


def _restarted_processes(status: RunStatus, now: datetime) -> Iterator[str]:
    """Processes that are ready, and ended a short while ago."""
    for process in _current_processes(status):
        ages = [(now - datetime.fromisoformat(time)).total_seconds() for time in process.get("restartedAt", [])]
        recent = [max(age, 0.0) for age in ages if age < RECENT_SECONDS]
        if recent and process["state"] == "ready":
            often = f" ({len(recent)} times in the last minute)" if len(recent) > 1 else ""
            yield f"{process['name']} was restarted {min(recent):.0f} s ago{often}"


def _current_processes(status: RunStatus) -> list[dict[str, Any]]:
    return [process for process in status["processes"] if not process["leaving"]]
