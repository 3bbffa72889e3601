"""What a Gateway says of traces: its fields together."""

from __future__ import annotations

import re
from collections.abc import Iterator

from gatewright_documents.mistake import Mistake, format_path, shown
from gatewright_documents.values import JsonObject

from gatewright_controller.validation.collectors import check_collector
from gatewright_controller.validation.values import as_object

ATTRIBUTE = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,99}")
OWN = {"service.name": "serviceName"}
"""Attributes that have fields of their own."""


def check_tracing(tracing: JsonObject) -> Iterator[Mistake]:
    """The collector as its protocol has it; names of headers and attributes."""
    yield from check_collector("tracing", tracing)
    for name in as_object(tracing.get("resourceAttributes")):
        field = format_path(["spec", "tracing", "resourceAttributes", name])
        if own := OWN.get(name):
            yield Mistake.expecting(f"no {name} here", "one", f"write it as {own}", field=field)
        elif not ATTRIBUTE.fullmatch(name):
            yield Mistake.expecting("a name such as deployment.environment.name", shown(name), field=field)
