"""Recorded exchanges, and recordings."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from gatewright_documents.strict import described
from msgspec import UNSET, Meta, UnsetType

from gatewright_controller.management.shapes.answer import Answered
from gatewright_controller.model import Strict
from gatewright_controller.resource.exchange_filter import ExchangeFilter

LONGEST_SECONDS = 3600
DEFAULT_SECONDS = 600


class WantedRecording(Strict, frozen=True):
    """What is to be recorded, and for how long."""

    filter: ExchangeFilter = ExchangeFilter()
    seconds: Annotated[int, described(f"seconds from 1 to {LONGEST_SECONDS}", ""), Meta(ge=1, le=LONGEST_SECONDS)] = (
        DEFAULT_SECONDS
    )


class ObservedNode(Answered, frozen=True):
    """Whether a node reports exchanges."""

    id: str
    state: Literal["observed", "connecting", "refused", "unobserved"]
    reason: str
    """Why it does not."""


class RecordingUnderWay(Answered, frozen=True):
    """A recording under way. Times are RFC 3339, UTC."""

    id: str
    filter: ExchangeFilter
    seconds: int
    started_at: str
    ends_at: str
    nodes: list[ObservedNode]


class RecordingList(Answered, frozen=True):
    """Recordings under way."""

    recordings: list[RecordingUnderWay]
    next: str | UnsetType = UNSET
    """The path of the next page, if there is one."""


class Exchange(Answered, frozen=True):
    """A recorded exchange, as the engine made it. Members that would be empty are absent; there are more."""

    version: int
    """1: of this format."""
    id: str
    """The request id."""
    node: str
    started_at: str
    """RFC 3339, UTC, microseconds."""
    duration_ms: float
    outcome: Literal["completed", "cancelled", "failed"]
    executions: list[dict[str, Any]]
    """Of policies, in order of their beginnings."""
    redacted: int
    """Number of redacted values."""
    api: str | UnsetType = UNSET
    operation: str | UnsetType = UNSET
    chain: str | UnsetType = UNSET
    policies: list[str] | UnsetType = UNSET
    """NAME:VERSION, in request order."""
    request: dict[str, Any] | UnsetType = UNSET
    """As the client sent it."""
    response: dict[str, Any] | UnsetType = UNSET
    """As it left the engine for the client."""
