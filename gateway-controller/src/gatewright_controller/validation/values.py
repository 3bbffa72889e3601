"""Of values that may be anything, what can be read of them."""

from __future__ import annotations

from gatewright_documents.values import JsonObject, JsonValue


def as_object(value: JsonValue) -> JsonObject:
    """Empty where it is none."""
    return value if isinstance(value, dict) else {}


def as_list(value: JsonValue) -> list[JsonValue]:
    """Empty where it is none."""
    return value if isinstance(value, list) else []


def texts_of(value: JsonValue) -> list[str]:
    """Those items of a list that are texts."""
    return [item for item in as_list(value) if isinstance(item, str)]


def as_text(value: JsonValue) -> str | None:
    """None where it is none."""
    return value if isinstance(value, str) else None
