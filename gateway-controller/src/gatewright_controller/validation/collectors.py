"""Where something is sent to by OTLP: the collector as its protocol has it, and the headers that it is sent."""

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


def check_collector(place: str, settings: JsonObject) -> Iterator[Mistake]:
    """place: where the settings stand, such as `logs` in spec."""
    http, collector = settings.get("protocol") == "http", settings.get("collector")
    if isinstance(collector, str):
        wrong = not _is_url(collector) if http else not _is_host_port(collector)
        if wrong:
            expected = "http://HOST:PORT or https://HOST:PORT with protocol http" if http else "HOST:PORT"
            cure = "" if http or not _is_url(collector) else "write protocol: http, or leave the scheme out"
            got = shown(re.sub("//[^/@]*@", "//", collector))  # no message has the password
            yield Mistake.expecting(expected, got, cure, field=f"spec.{place}.collector")
    if http and settings.get("tls") is True:
        cure = "remove it, and write https:// in the collector"
        yield Mistake.expecting("no tls with protocol http", "true", cure, field=f"spec.{place}.tls")
    for name, value in as_object(settings.get("headers")).items():
        field = format_path(["spec", place, "headers", name])
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
