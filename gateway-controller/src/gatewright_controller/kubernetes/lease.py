"""Who leads: what a Lease of Kubernetes says (coordination.k8s.io), and what may be done about it. Pure.

Clocks of machines differ, so a Lease ends when it has not changed for its duration by the clock of who looks at it;
the times in it are for people.
"""

from __future__ import annotations

from datetime import datetime

import msgspec
from gatewright_documents.values import JsonObject

DURATION_SECONDS = 15
"""For which others leave a Lease alone that is not renewed."""
DEADLINE_SECONDS = 10.0
"""After its last renewal a leader writes nothing any more. What is left of the duration is for requests under way."""
RENEW_SECONDS = 4.0
RETRY_SECONDS = 1.0
"""After a renewal that has failed."""


class LeaseView(msgspec.Struct):
    """What one controller sees. identity: its own. seen: the version of the Lease, and when it was seen first."""

    identity: str
    lease: JsonObject | None = None
    version: str = ""
    seen_at: float = 0.0

    def see(self, lease: JsonObject | None, now: float) -> None:
        """lease: as the API server has it; None: there is none."""
        version = lease["metadata"]["resourceVersion"] if lease else ""
        if version != self.version or not self.version:
            self.version, self.seen_at = version, now
        self.lease = lease

    @property
    def holder(self) -> str:
        """ "" where it has none."""
        return str((self.lease or {}).get("spec", {}).get("holderIdentity") or "")

    def seconds_until_free(self, now: float) -> float:
        """0: this controller may take it, or has it."""
        if self.holder in ("", self.identity) or self.lease is None:
            return 0.0
        duration = float(self.lease["spec"].get("leaseDurationSeconds") or DURATION_SECONDS)
        return max(0.0, self.seen_at + duration - now)

    def renewed(self, now: datetime) -> JsonObject:
        """The spec of the Lease that this controller writes to have it, or to have it still."""
        spec = dict((self.lease or {}).get("spec") or {})
        at = micro_time(now)
        if self.holder != self.identity or "acquireTime" not in spec:
            transitions = int(spec.get("leaseTransitions") or 0) + (1 if self.lease else 0)
            spec |= {"acquireTime": at, "leaseTransitions": transitions}
        return {**spec, "holderIdentity": self.identity, "leaseDurationSeconds": DURATION_SECONDS, "renewTime": at}

    def released(self, now: datetime) -> JsonObject:
        """The spec of the Lease that this controller writes to let others have it at once."""
        spec = dict((self.lease or {}).get("spec") or {})
        return {**spec, "holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": micro_time(now)}


class Term(msgspec.Struct):
    """The time for which one controller leads: until it has not renewed for `DEADLINE_SECONDS`, or has ended it."""

    renewed_at: float
    is_over: bool = False

    def renew(self, now: float) -> None:
        """now: when the request was sent that has renewed it."""
        self.renewed_at = now

    def is_valid(self, now: float) -> bool:
        """Whether this controller may write."""
        return not self.is_over and now < self.renewed_at + DEADLINE_SECONDS


def micro_time(now: datetime) -> str:
    """As the fields of a Lease have it."""
    return now.isoformat(timespec="microseconds").replace("+00:00", "Z")
