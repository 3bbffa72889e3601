"""Who a request is from, as a policy has found out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gatewright.params import ReadOnlyDict

KEY = "identity"
"""Of `ctx.metadata`: where it stands for all policies, Go and Python, and for recordings."""

_EMPTY: tuple[tuple[str, Any], ...] = (
    ("subject", ""), ("issuer", ""), ("scopes", []), ("claims", {}), ("method", ""),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a request is from: `ctx.identity`, set by one policy, read by those after it.

        ctx.identity = Identity(subject=claims["sub"], issuer=claims["iss"], scopes=tuple(claims["scope"].split()))

    A policy that sets it has verified what it says. It stands in `ctx.metadata["identity"]`, as JSON.
    """

    subject: str
    """Who, as the issuer names them: `sub` of a token, the owner of a key."""
    issuer: str = ""
    """Who says so: `iss` of a token, or the name of what has keys."""
    scopes: tuple[str, ...] = ()
    """What the subject may do."""
    claims: Mapping[str, Any] = field(default_factory=ReadOnlyDict)
    """All else that is known, as JSON values; read-only where it is read."""
    method: str = ""
    """How it was found: `jwt`, `api-key`, `mtls`, …"""

    def has_scopes(self, *wanted: str) -> bool:
        """Whether all of these are there."""
        return set(wanted) <= set(self.scopes)


def identity_of(metadata: Mapping[str, Any]) -> Identity | None:
    """What policies have set; None where none has, or something else stands there."""
    said = metadata.get(KEY)
    if not isinstance(said, dict) or any(not isinstance(said.get(name, empty), type(empty)) for name, empty in _EMPTY):
        return None
    if "subject" not in said:
        return None
    subject, issuer, scopes, claims, method = (said.get(name, empty) for name, empty in _EMPTY)
    return Identity(subject, issuer, tuple(map(str, scopes)), claims, method)


def as_metadata(identity: Identity) -> dict[str, Any]:
    """What identity_of reads. Members that would be empty are absent. TypeError where it is no Identity."""
    if not isinstance(identity, Identity):
        raise TypeError(
            f"expected an Identity, got {type(identity).__name__} {identity!r:.80}: write Identity(subject=…)"
        )
    said = {
        "subject": identity.subject,
        "issuer": identity.issuer,
        "scopes": list(identity.scopes),
        "claims": dict(identity.claims),
        "method": identity.method,
    }
    return {name: value for name, value in said.items() if value or name == "subject"}
