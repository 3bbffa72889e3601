"""APIs as past writes left them: what is shown of one, and what two of them have different."""

from __future__ import annotations

import msgspec
from gatewright_documents.mistake import Invalid, Mistake

from gatewright_controller.apis.api_change import Side, diff_of
from gatewright_controller.model import Api, from_document
from gatewright_controller.resource.definitions import Definitions
from gatewright_controller.resource.versions import Versions
from gatewright_controller.store import Entry, PastResource


class PastApi(msgspec.Struct, frozen=True):
    """api: None where the write of that revision was a deletion, or gave the API another name."""

    entry: Entry
    api: Api | None
    versions: Versions

    @property
    def side(self) -> Side | None:
        """It in a diff."""
        label = f"{self.entry.name}@{self.entry.revision}"
        return Side(label, self.api, self.versions) if self.api else None


def decode_past(past: PastResource) -> PastApi:
    """Raises `Invalid` where the API was written by a release whose fields this one does not know."""
    if past.document is None:
        return PastApi(past.entry, None, ())
    try:
        return PastApi(past.entry, from_document(past.document), past.versions)
    except msgspec.ValidationError as error:
        expected = f"{past.entry.name}@{past.entry.revision} with the fields of this release"
        cure = "use a controller of the release that wrote it"
        raise Invalid([Mistake.expecting(expected, f"another: {error}", cure, field="revision")]) from None


def diff_of_past(before: PastApi, after: PastApi, definitions: Definitions) -> str:
    """Unified, without secrets; "" where both are the same."""
    return diff_of(before.side, after.side, definitions)
