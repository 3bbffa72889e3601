"""What other definitions of policies would mean for the APIs."""

from __future__ import annotations

import msgspec
from gatewright_documents.mistake import Mistake

from gatewright_controller.model import Api
from gatewright_controller.resource.definitions import DefinitionChanges
from gatewright_controller.resource.effective import Effective
from gatewright_controller.resource.versions import Move, Versions, attachments


class Prospect(msgspec.Struct, frozen=True):
    """What other definitions mean, and the APIs that come with them: what changes, which attachments get another
    version, which APIs that concerns, and what of them is written."""

    changes: DefinitionChanges
    moves: tuple[Move, ...]
    apis: tuple[str, ...]
    writes: tuple[tuple[Api, Versions], ...] = ()


def concerns(changes: DefinitionChanges, before: Effective, after: Effective) -> bool:
    """Whether the API cannot go on as it is, or Defaults have a newer version for it."""
    pairs = zip(attachments(before.api), before.versions, strict=True)
    is_hit = any(changes.concern(attachment.name, version) for (_, attachment), version in pairs)
    return is_hit or before.versions != after.versions


def of_api(name: str, mistake: Mistake) -> Mistake:
    """A mistake that the API has only with the other definitions, and how both are changed together."""
    cure = (
        "change both in one step, `gatewright apply --reload -f FILE` with the API's file, "
        "or give the policy a new version beside this one"
    )
    return Mistake(f"API {name}: {mistake.field}", f"{mistake.message}; {cure}")
