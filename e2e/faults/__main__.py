"""`python -m e2e.faults`: the fault suite. Prints one table; the exit status is 1 when a row broke its contract.

With GATEWRIGHT_ENGINE=in-envoy the engine of all gateways is inside Envoy.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from bench import load_tool
from e2e.faults import hostile
from e2e.faults.hostile import Hostile
from e2e.faults.measure import Measurement
from e2e.faults.row import Row
from e2e.faults.rows import MEASUREMENTS, ROWS
from e2e.faults.table import Line, cells, reasons, table
from e2e.kit.shared_build import build_output


def main() -> int:
    arguments = _parse()
    hostile.TABLE.writing = arguments.write
    every: list[Row | Hostile | Measurement] = [*ROWS, *MEASUREMENTS]
    rows = [row for row in every if all(word.lower() in row.name.lower() for word in arguments.only)]
    if not rows:
        sys.exit("no such row; there are:\n  " + "\n  ".join(row.name for row in every))
    with tempfile.TemporaryDirectory(prefix="gatewright-faults-") as folder:
        tool, build = load_tool.build(Path(folder)), build_output()
        lines = [print_line(run_row(row, tool, build)) for row in rows]
    print("\n" + table(lines))
    return 0 if all(line.kept for line in lines) else 1


def run_row(row: Row | Hostile | Measurement, tool: Path, build: Path) -> Line:
    try:
        if isinstance(row, Measurement):
            return Line(row.name, figures=row.run(tool, build))
        if skip_reason := row.skip_reason():
            return Line(row.name, skipped=f"skipped: {skip_reason}")
        return Line(row.name, row.run(tool, build))
    except Exception as error:  # the other rows still have something to say
        return Line(row.name, crashed=f"{type(error).__name__}: {error}")


def print_line(line: Line) -> Line:
    """Says at once what a row came to."""
    print(" | ".join(cells(line)), *reasons(line), sep="\n", flush=True)
    return line


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m e2e.faults", description=__doc__)
    parser.add_argument("--write", action="store_true", help="write what hostile policies reach into isolation.md")
    parser.add_argument("only", nargs="*", metavar="WORD", help="run the rows whose names have all these words")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
