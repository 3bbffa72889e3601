"""What both directions hold to, and how they say that a body is beyond it, or none of its kind."""

from __future__ import annotations

from dataclasses import dataclass


class ConversionError(ValueError):
    """A body cannot be converted. The text says why, and of what came names alone."""


@dataclass(frozen=True, slots=True)
class Limits:
    """depth: of elements, or values, in each other. size: bytes that a body may have when it is converted."""

    depth: int
    size: int

    def check_depth(self, depth: int) -> None:
        if depth > self.depth:
            raise ConversionError(f"expected at most {self.depth} levels, got more")

    def check_size(self, size: int) -> None:
        if size > self.size:
            raise ConversionError(f"expected a body that has at most {self.size} bytes when it is converted, got more")
