"""The types of plain JSON values."""

from __future__ import annotations

from typing import Any, TypeAlias

JsonValue: TypeAlias = Any
"""What JSON can say. `Any`, because a recursive alias cannot stand in a msgspec struct."""

JsonObject: TypeAlias = dict[str, JsonValue]
KeyPath = tuple[str | int, ...]
"""Where a value stands in a document: the keys and indexes that lead to it."""
