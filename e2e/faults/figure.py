"""A figure and the limit that it has to keep."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """`value` has to be at most `limit`; None: it is only reported."""

    name: str
    value: float
    limit: float | None = None

    @property
    def kept(self) -> bool:
        return self.limit is None or self.value <= self.limit

    def __str__(self) -> str:
        return f"{self.name} {self.value:.3g}" + ("" if self.limit is None else f" (at most {self.limit:.3g})")
