"""Tokens: their text, which is shown once, and what is kept of it."""

from __future__ import annotations

import hashlib
import secrets

import msgspec

from gatewright_controller.access.callers import Caller, Grant

PREFIX = "gatewright_"
"""By which scanners find a token that was published by mistake."""
RANDOM_BYTES = 32


class Token(msgspec.Struct, frozen=True):
    """What is known of a token but its text. Times are RFC 3339, UTC; expires_at: "" for never."""

    name: str
    grant: Grant
    created_at: str
    created_by: str
    expires_at: str = ""

    @property
    def caller(self) -> Caller:
        """Who comes with it."""
        return Caller(f"token:{self.name}", (self.grant,))


def new_text() -> str:
    """The text of another token."""
    return f"{PREFIX}{secrets.token_urlsafe(RANDOM_BYTES)}"


def digest_of(text: str) -> str:
    """What is kept of a token: no attacker guesses a text of 32 random bytes, so that one plain hash is enough."""
    return hashlib.sha256(text.encode()).hexdigest()
