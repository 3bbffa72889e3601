"""The node's admin listener: an address of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gatewright_documents.mistake import Mistake, shown
from gatewright_documents.values import JsonObject

from gatewright_controller.validation.gateway_draft import DraftListener, meet

FIELD = "spec.admin"


def check_admin(admin: JsonObject, listeners: Sequence[DraftListener]) -> Iterator[Mistake]:
    """A port that is not said is chosen among the free ones."""
    admin_listener = DraftListener(FIELD, admin)
    if admin_listener.address is None and admin_listener.text("address"):
        expected = "an address such as 127.0.0.1, 0.0.0.0 or '::'"
        yield Mistake.expecting(expected, shown(admin_listener.text("address")), field=f"{FIELD}.address")
    if "port" in admin and (other := next((other for other in listeners if meet(admin_listener, other)), None)):
        got = f"{admin_listener.port} as in {other.field}"
        cure = "choose another port, or another address"
        yield Mistake.expecting("a port that no listener has", got, cure, field=f"{FIELD}.port")
