"""What an API says of the listeners that serve it, and what else it may name of a Gateway."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import msgspec
from gatewright_documents.mistake import Mistake, listed, shown

from gatewright_controller.validation.draft import Draft


class GatewayNames(msgspec.Struct, frozen=True):
    """What a Gateway names: its `spec.certificates`, its `spec.authorities`, and its listeners that serve APIs."""

    certificates: Collection[str]
    authorities: Collection[str]
    listeners: Collection[str] = ()


def check_listeners(draft: Draft, names: GatewayNames | None) -> Iterator[Mistake]:
    """Each is one that serves APIs, and stands once. names: None where the Gateway is not known."""
    for index, name in enumerate(draft.listeners):
        field = f"spec.listeners[{index}]"
        if name in draft.listeners[:index]:
            yield Mistake.expecting("each listener once", f"{shown(name)} twice", "remove one of the two", field=field)
        elif names is not None and name not in names.listeners:
            expected = f"a listener of the Gateway that serves APIs: {listed(sorted(names.listeners))}"
            yield Mistake.expecting(expected, shown(name), "correct the name, or add the listener first", field=field)
