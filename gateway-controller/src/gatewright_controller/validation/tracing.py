"""What a Gateway says of traces: its fields together."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from gatewright_documents.mistake import Mistake, format_path, shown
from gatewright_documents.values import JsonObject

from gatewright_controller.validation.values import as_object

HOST_PORT = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+):([0-9]{1,5})")
HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
HEADER_VALUE = re.compile(r"[\x20-\x7e\t]*")
ATTRIBUTE = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,99}")
OWN = {"service.name": "serviceName"}
"""Attributes that have fields of their own."""


def check_tracing(tracing: JsonObject) -> Iterator[Mistake]:
    """The collector as its protocol has it; names of headers and attributes."""
    yield from _check_collector(tracing)
    yield from _check_headers(as_object(tracing.get("headers")))
    for name in as_object(tracing.get("resourceAttributes")):
        field = format_path(["spec", "tracing", "resourceAttributes", name])
        if own := OWN.get(name):
            yield Mistake.expecting(f"no {name} here", "one", f"write it as {own}", field=field)
        elif not ATTRIBUTE.fullmatch(name):
            yield Mistake.expecting("a name such as deployment.environment.name", shown(name), field=field)


def _check_collector(tracing: JsonObject) -> Iterator[Mistake]:
    http, collector = tracing.get("protocol") == "http", tracing.get("collector")
    if isinstance(collector, str) and not (_is_url if http else _is_host_port)(collector):
        expected = "http://HOST:PORT or https://HOST:PORT with protocol http" if http else "HOST:PORT"
        cure = "" if http or not _is_url(collector) else "write protocol: http, or leave the scheme out"
        yield Mistake.expecting(expected, shown(collector), cure, field="spec.tracing.collector")
    if http and tracing.get("tls") is True:
        cure = "remove it, and write https:// in the collector"
        yield Mistake.expecting("no tls with protocol http", "true", cure, field="spec.tracing.tls")


def _check_headers(headers: JsonObject) -> Iterator[Mistake]:
    for name, value in headers.items():
        field = format_path(["spec", "tracing", "headers", name])
        if not HEADER.fullmatch(name):
            yield Mistake.expecting("the name of a header", shown(name), field=field)
        if isinstance(value, str) and not HEADER_VALUE.fullmatch(value):
            yield Mistake.expecting("a header's value, of printable ASCII", "other characters", field=field)


def _is_host_port(text: str) -> bool:
    found = HOST_PORT.fullmatch(text)
    return found is not None and 0 < int(found[2]) <= 65535


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return False
    plain = not (parts.username or parts.password or parts.query or parts.fragment)
    return parts.scheme in {"http", "https"} and bool(parts.hostname) and port != 0 and plain
