"""What the management API asks about people, and the errors that it gets."""

from __future__ import annotations

from typing import Protocol

from gatewright_controller.access import Caller


class NotSignedInError(Exception):
    """A JWT is refused; the message says why, and repeats nothing secret."""


class ProviderAwayError(Exception):
    """The provider does not answer now, so that no JWT can be verified; the message has the reason."""


class People(Protocol):
    """Those who come with a JWT of the configured provider."""

    async def caller_of(self, text: str) -> Caller | None:
        """Who comes with this text; None: it is no JWT. Raises `NotSignedInError`, `ProviderAwayError`."""
