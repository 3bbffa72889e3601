"""Every error, as RFC 9457 has it."""

from __future__ import annotations

from msgspec import UNSET, UnsetType

from gatewright_controller.management.shapes.answer import Answered
from gatewright_controller.management.shapes.plans import Plan


class ProblemMistake(Answered, frozen=True):
    """One mistake of a request."""

    field: str
    """Where it is: `spec.context`; with the file before it where the request had several documents."""
    message: str
    """What was expected, what came, and the cure."""
    line: int | UnsetType = UNSET
    """Of the document in the request."""


class Problem(Answered, frozen=True, kw_only=True):
    """An error (RFC 9457)."""

    type: str = "about:blank"
    """`about:blank`, or `urn:gatewright:problem:no-database` while the controller cannot open its database."""
    title: str
    """What HTTP calls the status."""
    status: int
    detail: str
    """What happened and what to do, for people."""
    errors: list[ProblemMistake] | UnsetType = UNSET
    """All mistakes of the request, of errors that the client can correct."""
    revision: int | UnsetType = UNSET
    """Of 412: the revision that the resource has; 0 where there is none."""
    updated_at: str | UnsetType = UNSET
    """Of 412: the time of that write (RFC 3339)."""
    owner: str | UnsetType = UNSET
    """Of 409: the owner of a resource that was to be written for another."""
    plan: Plan | UnsetType = UNSET
    """Of 409 to an apply with the digest of a plan: what the plan would be now."""
