"""A Gateway that may be wrong anywhere: what can be read of it."""

from __future__ import annotations

import ipaddress

import msgspec
from gatewright_documents.values import JsonObject

from gatewright_controller.validation.values import as_list, as_object, texts_of


class DraftListener(msgspec.Struct, frozen=True):
    """A listener as far as it can be read. field: where it stands."""

    field: str
    raw: JsonObject

    def text(self, name: str, default: str = "") -> str:
        """A field that is text."""
        value = self.raw.get(name, default)
        return value if isinstance(value, str) else ""

    @property
    def port(self) -> int:
        """0 where it cannot be read."""
        value = self.raw.get("port", 8080)
        return value if isinstance(value, int) and not isinstance(value, bool) else 0

    @property
    def address(self) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
        """None where it cannot be read."""
        try:
            return ipaddress.ip_address(self.text("address", "127.0.0.1"))
        except ValueError:
            return None


def meet(listener: DraftListener, other: DraftListener) -> bool:
    """Whether both would listen on one port of one address."""
    if not listener.port or listener.port != other.port or listener.address is None or other.address is None:
        return False
    if listener.address.version != other.address.version:
        return False
    return listener.address == other.address or listener.address.is_unspecified or other.address.is_unspecified


class Draft(msgspec.Struct, frozen=True):
    """A document that may be wrong anywhere: what can be read of it."""

    listeners: list[DraftListener]
    certificates: JsonObject
    authorities: list[str]
    proxies: JsonObject
    access_log: JsonObject
    redaction: JsonObject
    admin: JsonObject
    logs: JsonObject
    tracing: JsonObject
    passed_headers: list[str]

    @staticmethod
    def of(document: JsonObject) -> Draft:
        """What can be read of a document; empty where nothing can."""
        spec = as_object(document.get("spec"))
        listeners = [
            DraftListener(f"spec.listeners[{at}]", as_object(listener))
            for at, listener in enumerate(as_list(spec.get("listeners")))
        ]
        certificates, authorities = as_object(spec.get("certificates")), list(as_object(spec.get("authorities")))
        proxies, access_log = as_object(spec.get("trustedProxies")), as_object(spec.get("accessLog"))
        redaction, tracing = as_object(spec.get("redaction")), as_object(spec.get("tracing"))
        admin, logs = as_object(spec.get("admin")), as_object(spec.get("logs"))
        passed = texts_of(spec.get("passedHeaders"))
        return Draft(listeners, certificates, authorities, proxies, access_log, redaction, admin, logs, tracing, passed)
