"""All rows of the suite, in the order in which they run."""

from __future__ import annotations

from e2e.faults import disk, harms, kills
from e2e.faults.row import Row

ROWS: list[Row] = [*kills.ROWS, *harms.ROWS, *disk.ROWS]
