"""Keys of consumers."""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, Meta, UnsetType

from gatewright_controller.management.shapes.answer import Answered
from gatewright_controller.model import Strict
from gatewright_controller.model.common import ResourceName

LONGEST_DAYS = 3650


class WantedConsumerKey(Strict, frozen=True):
    """A key that is to be made."""

    name: ResourceName
    """Another one than those of the consumer's other keys."""
    days: Annotated[int, Meta(ge=1, le=LONGEST_DAYS)] | UnsetType = UNSET
    """After so many days it opens nothing any more; without, it does not expire."""


class ConsumerKeyResource(Answered, frozen=True, kw_only=True):
    """A key, without its text."""

    name: str
    sha256: str
    """The digest of its text."""
    created_at: str
    """RFC 3339, UTC."""
    created_by: str
    """Who has made it."""
    expired: bool
    expires_at: str | UnsetType = UNSET
    """RFC 3339, UTC."""


class CreatedConsumerKey(ConsumerKeyResource, frozen=True, kw_only=True):
    """A new key, with its text."""

    key: str
    """It is shown here, and never again."""


class ConsumerKeyList(Answered, frozen=True):
    """Keys, by name."""

    keys: list[ConsumerKeyResource]
