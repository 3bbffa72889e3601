"""All rows of the suite, in the order in which they run."""

from __future__ import annotations

from e2e.faults import changes, disk, harms, hung, kills
from e2e.faults.row import Row

ROWS: list[Row] = [*kills.ROWS, *changes.ROWS, *harms.ROWS, *hung.ROWS, *disk.ROWS]
