"""From the claims of a verified JWT to the caller: their name, and the grants that fit. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gatewright_documents.values import JsonObject, JsonValue

from gatewright_controller.access import Caller
from gatewright_controller.oidc.settings import Oidc

LONGEST_NAME = 255
"""As OpenID Connect Core 1.0, section 2, has it for `sub`."""


def caller_of(claims: JsonObject, oidc: Oidc) -> Caller:
    """Who has these claims, with every grant that fits."""
    grants = tuple(entry.grant for entry in oidc.grants if entry.value in texts_of(claims, entry.claim))
    lack = "" if grants else _lack(claims, (entry.claim for entry in oidc.grants))
    return Caller(f"oidc:{name_of(claims, oidc.actor_claim)}", grants, lack)


def name_of(claims: JsonObject, claim: str) -> str:
    """The text of this claim if it is one to show; else `sub`, which every verified JWT has."""
    value = _value(claims, claim)
    return value if is_name(value) else str(claims["sub"])


def is_name(value: object) -> bool:
    """Whether a log can show it."""
    return isinstance(value, str) and 0 < len(value) <= LONGEST_NAME and value.isprintable() and value == value.strip()


def texts_of(claims: JsonObject, claim: str) -> Sequence[str]:
    """The text of a claim, or the texts of one that is a list; none for what is neither."""
    value = _value(claims, claim)
    items = value if isinstance(value, list) else [value]
    return [item for item in items if isinstance(item, str)]


def _value(claims: JsonObject, claim: str) -> JsonValue:
    """Names of claims may have dots themselves, such as https://id.example/roles: the whole name goes first. An address
    counts only once the provider has verified it: others are what a user has typed."""
    if claim == "email" and claims.get("email_verified") is not True:
        return None
    if claim in claims:
        return claims[claim]
    value: JsonValue = claims
    for name in claim.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _lack(claims: JsonObject, looked_at: Iterable[str]) -> str:
    states = {claim: _state(claims, claim) for claim in looked_at}
    return f"no grant fits; looked at {', '.join(f'{claim} ({state})' for claim, state in states.items())}"


def _state(claims: JsonObject, claim: str) -> str:
    if texts_of(claims, claim):
        return "other values"
    return "not verified" if claim == "email" and claim in claims else "not there"
