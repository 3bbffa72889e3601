"""All Defaults that there are, by name, and which APIs a change of them concerns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from gatewright_documents.values import JsonObject

from gatewright_controller.model import Api, Defaults, defaults_from_document
from gatewright_controller.resource.effective import in_order

KnownDefaults = Mapping[str, Defaults]
"""By name."""


def with_documents(known: KnownDefaults, documents: Mapping[str, JsonObject | None]) -> KnownDefaults:
    """The same with these in their places, by name; None: there is none any more."""
    written = {name: defaults_from_document(document) for name, document in documents.items() if document}
    return {name: defaults for name, defaults in known.items() if name not in documents} | written


def changed_between(before: KnownDefaults, after: KnownDefaults) -> Sequence[Defaults]:
    """Those that go, come or change, as they were and as they will be."""
    changed = [name for name in before.keys() | after.keys() if _text(before.get(name)) != _text(after.get(name))]
    return [side[name] for name in sorted(changed) for side in (before, after) if name in side]


def concern(changed: Sequence[Defaults], api: Api) -> bool:
    """Whether the API gets something else by them."""
    return bool(in_order(api, changed))


def _text(defaults: Defaults | None) -> bytes:
    """To Python, 1 == True."""
    return msgspec.json.encode(defaults, order="sorted")
