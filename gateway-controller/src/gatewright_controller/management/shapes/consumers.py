"""Keys of consumers."""

from __future__ import annotations

from typing import Annotated

from gatewright_documents.strict import expecting
from msgspec import UNSET, Meta, UnsetType

from gatewright_controller.management.shapes.answer import Answered
from gatewright_controller.model import Strict
from gatewright_controller.model.common import ResourceName

LONGEST_DAYS = 3650
SHORTEST_KEY, LONGEST_KEY = 22, 4096
"""Characters of a key that a client sends: 128 bits in base64, and what api-key-auth looks up."""
OLD_KEY = expecting(
    f"{SHORTEST_KEY} to {LONGEST_KEY} printable ASCII characters without spaces",
    "leave `key` out, so that the controller makes a random one",
)
TIME = expecting("a time like 2027-01-01T00:00:00Z, in UTC")


class WantedConsumerKey(Strict, frozen=True):
    """A key that is to be made, or that a client has already."""

    name: ResourceName
    """Another one than those of the consumer's other keys."""
    days: Annotated[int, Meta(ge=1, le=LONGEST_DAYS)] | UnsetType = UNSET
    """After so many days it opens nothing any more; without, it does not expire."""
    expires_at: (
        Annotated[
            str, Meta(pattern=r"^[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9](:[0-5][0-9]){2}Z$", extra_json_schema=TIME)
        ]
        | UnsetType
    ) = UNSET
    """The end in place of `days`: RFC 3339, UTC. It is not past."""
    key: (
        Annotated[
            str,
            Meta(pattern=f"^[!-~]{{{SHORTEST_KEY},{LONGEST_KEY}}}$", extra_json_schema={**OLD_KEY, "writeOnly": True}),
        ]
        | UnsetType
    ) = UNSET
    """The text of a key that the client has already and that is to keep working. It has to be random, since its SHA-256
    is kept, from which a word is soon guessed. Without, the controller makes one."""


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
    """A new key, with its text if the controller has made it."""

    key: str | UnsetType = UNSET
    """It is shown here, and never again. Absent for a key that the client sent."""


class ConsumerKeyList(Answered, frozen=True):
    """Keys, by name."""

    keys: list[ConsumerKeyResource]
