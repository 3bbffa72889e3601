"""What an operator says of the OpenID provider and of the people who come from it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from gatewright_documents.mistake import Mistake
from gatewright_documents.strict import expecting
from msgspec import Meta, field

from gatewright_controller.access import Grant, PersonRole, Scope
from gatewright_controller.access.bounds import Contexts, Globs, Hosts
from gatewright_controller.model import Strict, Timeout
from gatewright_controller.model.common import Labels

URL = r"^(https://[^/?#\s]+|http://(127(\.\d{1,3}){3}|localhost|\[::1\])(:\d{1,5})?)(/[^?#\s]*)?$"
"""Of https, or of http on this machine; without a query."""
Url = Annotated[
    str,
    Meta(
        pattern=URL,
        max_length=2048,
        extra_json_schema=expecting("an https URL such as https://id.example, or http on this machine"),
    ),
]
ScopeName = Annotated[str, Meta(pattern=r"^[!#-\[\]-~]+$", extra_json_schema=expecting("a scope (RFC 6749, 3.3)"))]
Name = Annotated[str, Meta(min_length=1, max_length=2048)]


class ClaimGrant(Strict, frozen=True):
    """A role for everyone whose claim has this value."""

    claim: Name
    """By its name; or, for one in an object, by names with dots between them, such as realm_access.roles."""
    value: Name
    """The claim is this text, or a list with it."""
    role: PersonRole
    names: Globs = field(default_factory=list)
    labels: Labels = field(default_factory=dict)
    hosts: Hosts = field(default_factory=list)
    contexts: Contexts = field(default_factory=list)

    @property
    def grant(self) -> Grant:
        """What it gives."""
        return Grant(self.role, Scope(tuple(self.names), self.labels, tuple(self.hosts), tuple(self.contexts)))


class Oidc(Strict, frozen=True):
    """An OpenID provider, and who may do what by its JWTs."""

    issuer: Url
    """As `iss` of its JWTs names it."""
    audience: Name
    """A JWT is for this controller where its `aud` is this text, or a list with it."""
    grants: Annotated[list[ClaimGrant], Meta(min_length=1, max_length=1000)]
    jwks_uri: Url | None = None
    """Where its keys are; None: its discovery document names the place."""
    actor_claim: Name = "email"
    """Of the name in the history and the audit log."""
    leeway: Timeout = "30s"
    """By which the provider's clock may differ from this one."""
    client_id: Name | None = None
    """Of the public client by which people log in at the Inspector; None: they do not. Its ID tokens are accepted."""
    scopes: Annotated[list[ScopeName], Meta(max_length=64)] = field(default_factory=lambda: ["profile", "email"])
    """What the Inspector asks for beside `openid`."""

    @property
    def audiences(self) -> list[str]:
        """Those for which a JWT may be."""
        return [self.audience, *([self.client_id] if self.client_id else [])]

    def mistakes(self) -> Iterator[Mistake]:
        """What the types of the fields do not say."""
        for number, entry in enumerate(self.grants):
            yield from entry.grant.mistakes(f"oidc.grants[{number}].role")
