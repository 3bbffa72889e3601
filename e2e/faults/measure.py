"""A measurement under load: figures with the limits that they have to keep. Its line in the table has no fault."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from e2e.faults.site import Ground, Setting, ground


@dataclass(frozen=True)
class Figure:
    """`value` has to be at most `limit`; None: it is told only."""

    what: str
    value: float
    limit: float | None = None

    @property
    def kept(self) -> bool:
        return self.limit is None or self.value <= self.limit

    def __str__(self) -> str:
        return f"{self.what} {self.value:.3g}" + ("" if self.limit is None else f" (at most {self.limit:.3g})")


@dataclass(frozen=True)
class Measurement:
    name: str
    measure: Callable[[Ground], Sequence[Figure]]
    setting: Setting = field(default_factory=Setting)

    def run(self, tool: Path, build: Path) -> Sequence[Figure]:
        with ground(tool, build, self.setting) as place:
            return self.measure(place)
