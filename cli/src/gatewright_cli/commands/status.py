"""How a run is, from what it says of itself: healthy, degraded, not serving, and why."""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from typing import Any

RunStatus = dict[str, Any]
"""status.json as an object; see NodeRun."""
NEEDED = ("engine", "envoy")
"""Processes without which requests, or those on routes with policies, are not answered."""


class Health(IntEnum):
    """As an exit status."""

    HEALTHY = 0
    NOT_SERVING = 1
    DEGRADED = 3

    @property
    def word(self) -> str:
        """For people and for JSON: "healthy", "not serving", "degraded"."""
        return self.name.lower().replace("_", " ")


def health(status: RunStatus) -> Health:
    """NOT_SERVING: it starts or stops, or Envoy or the engine is away. DEGRADED: it serves, with shortcomings."""
    away = any(each["state"] != "ready" for each in _staying(status) if each["name"] in NEEDED)
    if status["state"] != "running" or away:
        return Health.NOT_SERVING
    return Health.DEGRADED if shortcomings(status) else Health.HEALTHY


def shortcomings(status: RunStatus) -> list[str]:
    """A few words for each kind of thing that is not as it should be."""
    return list(_shortcomings(status))


def _shortcomings(status: RunStatus) -> Iterator[str]:
    if status["state"] != "running":
        yield f"the run is {status['state']}"
    yield from (f"{each['name']} is {each['state']}" for each in _staying(status) if each["state"] != "ready")
    apis = status["apis"]
    if down := sum(api["state"] != "deployed" for api in apis):
        yield f"{down} of {len(apis)} APIs not deployed"
    if refused := len(status["refusedFiles"]):
        yield f"{refused} API {'file' if refused == 1 else 'files'} refused"
    if failing := sum(one["failures"] > 0 for one in status.get("acme", [])):
        yield f"{failing} {'certificate' if failing == 1 else 'certificates'} not obtained or renewed"
    if quarantined := len(status.get("quarantined", [])):
        yield f"{quarantined} policy {'instance' if quarantined == 1 else 'instances'} under quarantine"
    if (store := status.get("store", {})).get("away"):
        yield f"the store at {store['valkey']} does not answer"
    expired = [f"{one['kind']} {one['name']}" for one in status.get("certificates", []) if one["daysLeft"] < 0]
    if expired:
        yield f"{' and '.join(expired)} {'has' if len(expired) == 1 else 'have'} expired"


def _staying(status: RunStatus) -> list[dict[str, Any]]:
    return [each for each in status["processes"] if not each["leaving"]]
