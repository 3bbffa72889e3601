"""The costs of rows relative to plain Envoy, recorded by a full run, with which a short run on any machine compares."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from bench import summary
from bench.rows import GO, NONE, PLAIN, PYTHON
from bench.sample import Sample

FILE = Path("bench/ratios.json")
CONNECTIONS = 64
ROWS = (NONE, GO, PYTHON)
LIMIT = 0.6
"""The least share of the recorded performance; a lower one is more than noise."""


def costs_of(samples: Sequence[Sample]) -> dict[str, float]:
    """Row → CPU of its request, in units of plain Envoy's. Rows without a figure are not in it."""
    plain = summary.of(samples, PLAIN, CONNECTIONS)
    costs = {row: summary.ratio(summary.of(samples, row, CONNECTIONS), plain, summary.total) for row in ROWS}
    return {row: round(cost, 2) for row, cost in costs.items() if not math.isnan(cost)}


def read() -> dict[str, float]:
    """The recorded ratios."""
    recorded: dict[str, float] = json.loads(FILE.read_text())["cpu × plain Envoy"]
    return recorded


def write(samples: Sequence[Sample]) -> None:
    """Records a run that has all of the rows; any other run leaves the file as it is."""
    if len(costs := costs_of(samples)) == len(ROWS):
        FILE.write_text(json.dumps({"cpu × plain Envoy": costs}, indent=2, ensure_ascii=False) + "\n")


def find_regressions(costs: Mapping[str, float], recorded: Mapping[str, float]) -> Iterator[str]:
    """An error for each row that costs far more than recorded."""
    for row, cost in costs.items():
        if recorded[row] / cost < LIMIT:
            limit = f"at most {recorded[row] / LIMIT:.2f} × plain Envoy's CPU, since {recorded[row]:.2f} is recorded"
            yield f"{row} at {CONNECTIONS} connections: expected {limit}, got {cost:.2f}"
