"""The plot: the rate and the cost of each row."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from bench import environment, summary
from bench.error import BenchError
from bench.rows import Row
from bench.sample import Sample
from bench.settings import Settings

FILE = Path("bench/bench.svg")
CONNECTIONS = 64
REQUIREMENTS = "plot"
PROGRAM = Path(__file__).parent / "draw.py"
"""It runs in an environment of its own, so no module of the bench imports it."""

SHOWN = f"""![Requests per second, and CPU per request, of each row at {CONNECTIONS} connections]({FILE.name})

Blue: our gateway. Grey: plain Envoy, and peers. Whiskers: the range over all rounds."""


def is_drawn(settings: Settings) -> bool:
    """Whether the run writes the README, which shows the plot."""
    return settings.record and not settings.compare and not settings.in_envoy


def write(samples: Sequence[Sample], rows: Sequence[Row], file: Path = FILE) -> None:
    """Draws the rows that were measured at CONNECTIONS, in the order of the table, as SVG."""
    command = [str(environment.python(REQUIREMENTS)), str(PROGRAM), str(file)]
    text = json.dumps({"connections": CONNECTIONS, "bars": [*bars(samples, rows)]})
    result = subprocess.run(command, input=text, capture_output=True, text=True, env=_variables(), check=False)
    if result.returncode != 0:
        raise BenchError(f"expected {PROGRAM.name} to draw {file}, got\n{result.stderr}")


def bars(samples: Sequence[Sample], rows: Sequence[Row]) -> Iterator[dict[str, object]]:
    """The bars of each row: medians and ranges, in requests/s and in µs of CPU. Rows of event streams have none."""
    for row in (row for row in rows if not row.events):
        if measured := summary.of(samples, row.key, CONNECTIONS):
            rate, cpu = (asdict(summary.spread(measured, figure)) for figure in (summary.rate, summary.total))
            yield {"title": row.title, "ours": row.policies is not None, "rate": rate, "cpu": cpu}


def _variables() -> dict[str, str]:
    """The variables of the program, which keeps its list of fonts beside its environment, not in the home folder."""
    return {**os.environ, "MPLCONFIGDIR": str((environment.ENVIRONMENTS / REQUIREMENTS / "settings").absolute())}
