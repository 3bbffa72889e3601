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
    if (store := status.get("store", {})).get("away"):
        yield f"the store at {store['valkey']} does not answer"
    yield from (f"no metrics of {source} ({why})" for source, why in status.get("metricsFailing", {}).items())
    yield from _of_certificates(status)


def _of_certificates(status: RunStatus) -> Iterator[str]:
    """And of authorities, and of the listeners that wait for them."""
    if closed := status.get("closedListeners", []):
        are = "the listener is" if len(closed) == 1 else "the listeners are"
        yield f"{are} closed: {', '.join(closed)}"
    for failing in status.get("failingFiles", []):
        yield f"the files of the {failing['kind']} {failing['name']} cannot be used ({failing['reason']})"
    expired = [f"{one['kind']} {one['name']}" for one in status.get("certificates", []) if one["daysLeft"] < 0]
    for certificate in status.get("certificates", []):
        if certificate.get("warning") == "urgent" and certificate["daysLeft"] >= 0:
            yield f"the certificate {certificate['name']} ends at {certificate['ends']}: {cure(certificate)}"
    if expired:
        yield f"{' and '.join(expired)} {'has' if len(expired) == 1 else 'have'} expired"


def cure(certificate: dict[str, Any]) -> str:
    """What is to be done about the end of a certificate that is near."""
    return "ACME has not renewed it yet" if certificate.get("renewed") else "replace its file"


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
