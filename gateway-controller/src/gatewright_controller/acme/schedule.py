"""When a certificate is obtained, renewed and tried again. Pure: times are seconds since 1970."""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import UNSET
from msgspec.structs import replace

from gatewright_controller.model import Certificate

Kind = Literal["unreachable", "refused"]
"""Of a failure: nothing was asked of the authority, or it has said no."""
RENEWED_AT = 2 / 3
"""Of the lifetime, where the authority suggests nothing."""
JITTER = 0.05
"""Of the lifetime: nodes that began together do not ask together."""
LEAST_SECONDS = 3600.0
"""Between two renewals that an authority suggests, or a third of the lifetime where that is shorter."""
BACK_OFF: dict[Kind, tuple[float, float]] = {"unreachable": (5, 900), "refused": (120, 6 * 3600)}
"""First and longest, seconds. Let's Encrypt takes five failures an hour for a host: two minutes, doubled, are five."""
BACK_OFF_JITTER = 0.2


class Wanted(msgspec.Struct, frozen=True):
    """A certificate as the Gateway asks for it."""

    name: str
    hosts: tuple[str, ...]
    directory: str
    directory_authority: str = ""
    email: str = ""
    key_type: str = "ecdsa-p256"

    @property
    def subject(self) -> list[str]:
        """Where this changes, what was obtained before is not what is wanted."""
        return [self.directory, self.key_type, *sorted(self.hosts)]

    @staticmethod
    def of(name: str, certificate: Certificate) -> Wanted | None:
        """None where it has files."""
        if (asked := certificate.acme) is UNSET:
            return None
        authority = "" if asked.directory_authority is UNSET else asked.directory_authority
        email = "" if asked.email is UNSET else asked.email
        return Wanted(name, tuple(asked.hosts), asked.directory, authority, email, asked.key_type)


class Record(msgspec.Struct, frozen=True):
    """What is known of a certificate, kept on disk.

    subject: `Wanted.subject` of what was obtained; empty: nothing was. begins, ends: of its validity. renew: when to.
    look: when to ask again what the authority suggests. failures: since the last success, when `failed_subject` was
    wanted; retry: not before; error: why, the last time.
    """

    subject: list[str] = msgspec.field(default_factory=list)
    begins: float = 0.0
    ends: float = 0.0
    renew: float = 0.0
    look: float = 0.0
    failures: int = 0
    failed_subject: list[str] = msgspec.field(default_factory=list)
    retry: float = 0.0
    error: str = ""

    def due(self, wanted: Wanted) -> float:
        """When to obtain it; may be long ago."""
        due = self.renew if self.subject == wanted.subject else 0.0
        return max(due, self.retry) if self.failures and self.failed_subject == wanted.subject else due

    def failed(self, wanted: Wanted, now: float, kind: Kind, error: str, asked: float, chance: float) -> Record:
        """After a failure. asked: how many seconds the authority asked to wait; chance: from 0 to 1."""
        failures = self.failures + 1 if self.failed_subject == wanted.subject else 1
        wait = max(back_off(failures, kind, chance), asked)
        return replace(self, failures=failures, failed_subject=wanted.subject, retry=now + wait, error=error)

    def suggested(self, renew: float | None, look: float, chance: float) -> Record:
        """With what the authority suggests now; None: nothing."""
        return replace(self, renew=renewal(self.begins, self.ends, renew, chance), look=look)


def obtained(
    wanted: Wanted, begins: float, ends: float, suggestion: float | None, look: float, chance: float
) -> Record:
    """Of a certificate that has just been obtained."""
    return Record(wanted.subject, begins, ends, renewal(begins, ends, suggestion, chance), look)


def renewal(begins: float, ends: float, suggestion: float | None, chance: float) -> float:
    """When to renew a certificate: as its authority suggests, if that is before it ends."""
    lifetime = ends - begins
    if suggestion is not None and suggestion < ends:
        return max(suggestion, begins + min(LEAST_SECONDS, lifetime / 3))
    return begins + lifetime * (RENEWED_AT - JITTER * chance)


def back_off(failures: int, kind: Kind, chance: float) -> float:
    """Seconds to wait after so many failures in a row."""
    first, longest = BACK_OFF[kind]
    return min(first * 2.0 ** min(failures - 1, 32), longest) * (1 + BACK_OFF_JITTER * chance)
