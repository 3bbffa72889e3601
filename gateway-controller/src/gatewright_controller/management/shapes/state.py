"""The export of the state of nodes."""

from __future__ import annotations

from gatewright_controller.management.shapes.answer import Answered


class StateExport(Answered, frozen=True):
    """Where this controller exports the state to."""

    place: str
    """A file, or a URL without what it keeps secret; "": the state is not exported."""
    revision: int = 0
    """Of the newest state that the place took; 0: it took none yet."""
    exported_at: str = ""
    """When it took that."""
    error: str = ""
    """Why it did not take the newest state, which is tried again; "": it did."""
    failures: int = 0
    """Exports that have failed since the controller started."""
