"""What the management API asks about people, and the errors that it gets."""

from __future__ import annotations

from typing import Protocol

import msgspec

from gatewright_controller.access import Caller


class NotSignedInError(Exception):
    """A JWT is refused; the message says why, and repeats nothing secret."""


class ProviderAwayError(Exception):
    """The provider does not answer now, so that no JWT can be verified; the message has the reason."""


class LoginPlace(msgspec.Struct, frozen=True):
    """Where and as which client a page has its user log in. scope: as the request for authorization has it."""

    authorization_endpoint: str
    client_id: str
    scope: str


class ProviderAnswer(msgspec.Struct, frozen=True):
    """What a page has got of the provider, and what it had sent there or kept for that: RFC 6749, 4.1.3, with the
    code_verifier of RFC 7636; nonce: OpenID Connect Core 1.0, 3.1.2.1."""

    code: str
    code_verifier: str
    redirect_uri: str
    nonce: str


class LoggedIn(msgspec.Struct, frozen=True):
    """jwt: with which the person comes from now on."""

    caller: Caller
    jwt: str


class People(Protocol):
    """Those who come with a JWT of the configured provider."""

    async def caller_of(self, text: str) -> Caller | None:
        """Who comes with this text; None: it is no JWT. Raises `NotSignedInError`, `ProviderAwayError`."""

    async def login_place(self) -> LoginPlace | None:
        """None: people log in elsewhere. Raises `ProviderAwayError`."""

    async def log_in(self, answer: ProviderAnswer) -> LoggedIn:
        """Exchanges the code. Raises `NotSignedInError`, `ProviderAwayError`."""
