"""Lists of secret names that stand in a Gateway: each name once."""

from __future__ import annotations

from collections.abc import Iterator

from gatewright_documents.mistake import Mistake, shown
from gatewright_documents.values import JsonObject

from gatewright_controller.model import plain_name
from gatewright_controller.validation.values import as_object, texts_of

LISTS = ("headers", "queryParameters", "fields")


def check_redaction(redaction: JsonObject) -> Iterator[Mistake]:
    """A name in a list and in that of the defaults is none."""
    places = [("spec.redaction", redaction), ("spec.redaction.defaults", as_object(redaction.get("defaults")))]
    for field, lists in places:
        for name in LISTS:
            yield from _check_twice(f"{field}.{name}", texts_of(lists.get(name)))


def _check_twice(field: str, names: list[str]) -> Iterator[Mistake]:
    seen: dict[str, str] = {}
    for at, name in enumerate(names):
        if before := seen.get(plain_name(name)):
            expected = "each name once, whatever its case, with or without - and _"
            got = f"{shown(name)} and {shown(before)}"
            yield Mistake.expecting(expected, got, "remove one of the two", field=f"{field}[{at}]")
        seen[plain_name(name)] = name
