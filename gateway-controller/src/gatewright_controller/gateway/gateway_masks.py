"""Headers that collectors are sent are often their keys: they are written, and a mask is shown in their place."""

from __future__ import annotations

from gatewright_documents.mistake import Invalid, Mistake, format_path
from gatewright_documents.secret_masks import MASK
from gatewright_documents.values import JsonObject, JsonValue, KeyPath

from gatewright_controller.validation.values import as_object

PARTS = ("logs", "tracing")
"""Of spec, with `headers`."""


def masked_gateway(document: JsonObject) -> JsonObject:
    """A copy of it, as it may be shown."""
    return _with_headers(document, {part: dict.fromkeys(_headers(document, part), MASK) for part in PARTS})


def unmasked_gateway(document: JsonObject, stored: JsonObject) -> JsonObject:
    """A copy, with what is stored where a mask was sent back. Raises `Invalid` for one that stands for nothing."""
    found: dict[str, JsonObject] = {}
    mistakes = []
    for part in PARTS:
        kept = _headers(stored, part)
        found[part] = {
            name: kept.get(name, MASK) if value == MASK else value for name, value in _headers(document, part).items()
        }
        for name in (name for name, value in found[part].items() if value == MASK):
            expected = "the value itself"
            got = f"{MASK}, its mask, and none is stored at this place"
            mistakes.append(Mistake.expecting(expected, got, field=format_path(["spec", part, "headers", name])))
    if mistakes:
        raise Invalid(mistakes)
    return _with_headers(document, found)


def headers_of(document: JsonObject) -> dict[KeyPath, JsonValue]:
    """The value of each header, by its place."""
    return {
        ("spec", part, "headers", name): value for part in PARTS for name, value in _headers(document, part).items()
    }


def _headers(document: JsonObject, part: str) -> JsonObject:
    return as_object(as_object(as_object(document.get("spec")).get(part)).get("headers"))


def _with_headers(document: JsonObject, headers: dict[str, JsonObject]) -> JsonObject:
    spec = as_object(document.get("spec"))
    changed = {part: {**as_object(spec.get(part)), "headers": found} for part, found in headers.items() if found}
    return {**document, "spec": {**spec, **changed}} if changed else document
