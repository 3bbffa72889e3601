"""A request that the controller sends to the gateway, and what came back."""

from __future__ import annotations

from msgspec import UNSET, UnsetType

from gatewright_controller.management.shapes.answer import Answered


class ReceivedBody(Answered, frozen=True):
    """The beginning of a body: `text` where it is UTF-8, else `base64`."""

    size: int
    """Bytes that came."""
    truncated: bool | UnsetType = UNSET
    """True if there were more than are here."""
    text: str | UnsetType = UNSET
    base64: str | UnsetType = UNSET


class GatewayAnswer(Answered, frozen=True):
    """What the gateway answered, whatever its status."""

    status: int
    protocol: str
    """`HTTP/1.1`"""
    listener: str
    """That the request was sent to."""
    headers: list[tuple[str, str]]
    """Name and value, in wire order, names in lower case."""
    body: ReceivedBody
    duration_ms: float
    """From the first byte that was sent to the last that came."""
    recorded: bool
    """Whether there is an exchange: `GET /v1/exchanges/{id}` with `requestId`."""
    trailers: list[tuple[str, str]] | UnsetType = UNSET
    error: str | UnsetType = UNSET
    """Why the body is incomplete."""
    request_id: str | UnsetType = UNSET
    """Of the exchange, or as the gateway's own answer says it."""
    not_recorded: str | UnsetType = UNSET
    """Why there is no exchange."""
