"""The types of values in a schema, by which texts of parameters and forms are parsed as numbers, lists and objects."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,99})")
NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,99})(?:\.[0-9]{1,99})?(?:[eE][+-]?[0-9]{1,3})?")


@dataclass(frozen=True, slots=True)
class Shape:
    """types: of JSON Schema, empty if the schema names none. items: of a list. members: of an object, by name."""

    types: frozenset[str] = frozenset()
    items: Shape | None = None
    members: Mapping[str, Shape] = field(default_factory=dict)

    def is_list(self) -> bool:
        return "array" in self.types

    def is_object(self) -> bool:
        return "object" in self.types

    def scalar(self) -> frozenset[str]:
        """The types of one value: for a list, those of its items."""
        return self.items.types if self.is_list() and self.items else self.types

    def member(self, name: str) -> Shape:
        return self.members.get(name, ANY)


ANY = Shape()


def parse_typed(text: str, types: frozenset[str]) -> Any:
    """Parses the text as one of the types; returns the text itself if it is of none, which the schema then refuses."""
    if "integer" in types and INTEGER.fullmatch(text):
        return int(text)
    if "number" in types and NUMBER.fullmatch(text) and math.isfinite(float(text)):
        return float(text)
    if "boolean" in types and text in {"true", "false"}:
        return text == "true"
    return None if "null" in types and text == "" and "string" not in types else text
