"""A measurement under load: figures with the limits that they have to keep. Its line in the table has no fault."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from e2e.faults.environment import Environment, Setting, started_environment
from e2e.faults.figure import Figure


@dataclass(frozen=True)
class Measurement:
    name: str
    measure: Callable[[Environment], Sequence[Figure]]
    setting: Setting = field(default_factory=Setting)

    def run(self, tool: Path, build: Path) -> Sequence[Figure]:
        with started_environment(tool, build, self.setting) as environment:
            return self.measure(environment)
