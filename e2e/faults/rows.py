"""All rows of the suite, in the order in which they run."""

from __future__ import annotations

from e2e.faults import changes, disk, faulty_policies, hostile, hung, kills, streams
from e2e.faults.blocking import BLOCKING
from e2e.faults.event_loop import EVENT_LOOP
from e2e.faults.hostile import Hostile
from e2e.faults.isolation import ISOLATION
from e2e.faults.measure import Measurement
from e2e.faults.overload import OVERLOAD
from e2e.faults.row import Row
from e2e.faults.unfinished import UNFINISHED

ROWS: list[Row | Hostile] = [
    *kills.ROWS,
    *changes.ROWS,
    *faulty_policies.ROWS,
    *streams.ROWS,
    *hung.ROWS,
    *disk.ROWS,
    *hostile.ROWS,
]
MEASUREMENTS: list[Measurement] = [ISOLATION, BLOCKING, EVENT_LOOP, OVERLOAD, *UNFINISHED]
