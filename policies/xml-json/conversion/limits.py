"""The limits of both directions, and the error for a body that cannot be converted."""

from __future__ import annotations

from dataclasses import dataclass


class ConversionError(ValueError):
    """A body cannot be converted. The message quotes only names of the body."""


@dataclass(frozen=True, slots=True)
class Limits:
    """depth: the most levels of elements or values. size: the most bytes of the converted body."""

    depth: int
    size: int

    def check_depth(self, depth: int) -> None:
        if depth > self.depth:
            raise ConversionError(f"expected at most {self.depth} levels, got more")

    def check_size(self, size: int) -> None:
        if size > self.size:
            raise ConversionError(f"expected at most {self.size} bytes after the conversion, got more")
