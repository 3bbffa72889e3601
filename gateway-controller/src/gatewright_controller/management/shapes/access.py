"""Callers, their tokens, and what the audit log has of them."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType, field

from gatewright_controller.access import Right, Role
from gatewright_controller.access.bounds import Contexts, Globs, Hosts
from gatewright_controller.management.shapes.answer import Answered
from gatewright_controller.model import Strict
from gatewright_controller.model.common import Labels, ResourceName

LONGEST_DAYS = 3650


class WantedToken(Strict, frozen=True):
    """A token that is to be created. Without a bound it is for all APIs."""

    name: ResourceName
    role: Role
    names: Globs = field(default_factory=list)
    """Of the APIs that it is for: an API's name fits one of these globs."""
    labels: Labels = field(default_factory=dict)
    """An API that it is for has all of these; with the role node: a node."""
    hosts: Hosts = field(default_factory=list)
    """They cover every host of an API that it is for; one without hosts is on every host, which they do not cover."""
    contexts: Contexts = field(default_factory=list)
    """The context of an API that it is for is one of these, or below one."""
    days: Annotated[int, Meta(ge=1, le=LONGEST_DAYS)] | UnsetType = UNSET
    """After so many days it is of no use any more; without, it does not expire."""


class Grant(Answered, frozen=True, kw_only=True):
    """A role, and the APIs that it is for: one that fits all of these members; an empty one fits every API."""

    role: Role
    names: list[str]
    labels: dict[str, str]
    hosts: list[str]
    contexts: list[str]


class TokenResource(Grant, frozen=True, kw_only=True):
    """A token, without its text."""

    name: str
    created_at: str
    created_by: str
    """Who created it, as in the history of a resource."""
    expires_at: str | UnsetType = UNSET
    expired: bool


class CreatedToken(TokenResource, frozen=True, kw_only=True):
    """A new token, with its text: no other answer has it."""

    token: str


class TokenList(Answered, frozen=True):
    """Tokens, by name."""

    tokens: list[TokenResource]
    next: str | UnsetType = UNSET


class CallerResource(Answered, frozen=True):
    """Who sends this request."""

    actor: str
    """As the history of resources names them."""
    rights: list[Right]
    grants: list[Grant]


class LoginPlace(Answered, frozen=True):
    """Where people log in by the authorization code flow with PKCE (S256), as which client; empty for nowhere."""

    authorization_endpoint: str | UnsetType = UNSET
    client_id: str | UnsetType = UNSET
    scope: str | UnsetType = UNSET
    """As the request for authorization has it."""


LoginText = Annotated[str, Meta(min_length=1, max_length=4096)]


class WantedLogin(Strict, frozen=True):
    """What the provider has answered to a page, and what the page has kept for that."""

    code: LoginText
    code_verifier: Annotated[str, Meta(pattern=r"^[A-Za-z0-9._~-]{43,128}$")]
    """Of RFC 7636."""
    redirect_uri: LoginText
    """As in the request for authorization."""
    nonce: LoginText
    """As in the request for authorization."""


class Login(Answered, frozen=True):
    """A person who has logged in."""

    token: str
    """A JWT: the bearer token of their requests."""
    actor: str
    """Who, as the history of resources names them."""


class AuditEntry(Answered, frozen=True):
    """A write, or one that was refused."""

    number: int
    at: str
    """RFC 3339, UTC."""
    actor: str
    """Who: `local` (this machine, without a token), `token` (the controller's own), `token:NAME`, `oidc:NAME` (a
    person), `file`, `stranger` (without a token that is known) or `unknown`."""
    origin: str
    """The address of the client, or the file."""
    reason: str
    """As the client gave it; empty for none."""
    action: str
    """What was done to the resource, such as `changed`; else the operation of this API."""
    outcome: Literal["done", "refused"]
    status: int
    """By which the request was answered."""
    kind: str
    """Of the resource: `Api`, `Gateway`, `Token`, `Node`; empty for none."""
    name: str
    """Of the resource; empty for none."""
    revision: int | UnsetType = UNSET
    """Of the resource, which this write has given it."""
    detail: str | UnsetType = UNSET
    """Why it was refused."""
    diff: str | UnsetType = UNSET
    """What the write has changed, as the history has it, secrets masked; with `changes`."""


class AuditLog(Answered, frozen=True):
    """Entries, the newest first."""

    entries: list[AuditEntry]
    next: str | UnsetType = UNSET
    """The path of the older ones, if there are more."""
