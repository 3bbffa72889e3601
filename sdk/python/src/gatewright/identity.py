"""The identity of a request's sender, as a policy has verified it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gatewright.params import ReadOnlyDict

KEY = "identity"
"""The key of `ctx.metadata` that holds the identity for all policies, Go and Python, and for recordings."""

_EMPTY: tuple[tuple[str, Any], ...] = (
    ("subject", ""), ("issuer", ""), ("scopes", []), ("claims", {}), ("method", ""), ("consumer", ""), ("plan", ""),
    ("labels", {}),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Identity:
    """The verified sender of a request: `ctx.identity`, set by one policy, read by those after it.

        ctx.identity = Identity(subject=claims["sub"], issuer=claims["iss"], scopes=tuple(claims["scope"].split()))

    A policy sets it only after it has verified the credentials. It is kept as JSON in `ctx.metadata["identity"]`.
    """

    subject: str
    """The issuer's name for the sender: `sub` of a token, the owner of a key."""
    issuer: str = ""
    """The party that vouches for the subject: `iss` of a token, or the name of a set of keys."""
    scopes: tuple[str, ...] = ()
    """What the subject may do."""
    claims: Mapping[str, Any] = field(default_factory=ReadOnlyDict)
    """Further claims, as JSON values; read-only when they are read."""
    method: str = ""
    """How the sender was authenticated: `jwt`, `api-key`, `mtls`, …"""
    consumer: str = ""
    """The controller's Consumer that the sender is; "": none. The policies api-key-auth and consumer set it."""
    plan: str = ""
    """The consumer's Plan; "": none."""
    labels: Mapping[str, str] = field(default_factory=ReadOnlyDict)
    """The consumer's labels; read-only when they are read."""

    def has_scopes(self, *wanted: str) -> bool:
        """Whether the identity has all of these scopes."""
        return set(wanted) <= set(self.scopes)


def identity_of(metadata: Mapping[str, Any]) -> Identity | None:
    """The identity in the metadata; None if no policy has set it, or the value is no identity."""
    value = metadata.get(KEY)
    if not isinstance(value, dict) or any(
        not isinstance(value.get(name, empty), type(empty)) for name, empty in _EMPTY
    ):
        return None
    if "subject" not in value:
        return None
    subject, issuer, scopes, claims, method, consumer, plan, labels = (value.get(name, empty) for name, empty in _EMPTY)
    return Identity(subject, issuer, tuple(map(str, scopes)), claims, method, consumer, plan, labels)


def as_metadata(identity: Identity) -> dict[str, Any]:
    """The JSON value that identity_of reads, without empty members. TypeError for what is no Identity."""
    if not isinstance(identity, Identity):
        raise TypeError(
            f"expected an Identity, got {type(identity).__name__} {identity!r:.80}: write Identity(subject=…)"
        )
    members = {
        "subject": identity.subject,
        "issuer": identity.issuer,
        "scopes": list(identity.scopes),
        "claims": dict(identity.claims),
        "consumer": identity.consumer,
        "plan": identity.plan,
        "labels": dict(identity.labels),
        "method": identity.method,
    }
    return {name: value for name, value in members.items() if value or name == "subject"}
