"""Tells upstream the plan of the request's tenant, by a table in a file of SQLite's; other tenants get 403.

The definition opens the folder of the file, to be read alone. The file may be replaced by another one (`mv`): it is
looked at once a second. The writer leaves `journal_mode` at `DELETE`: who reads a WAL wants to write beside the file.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sdk.policy import ImmediateResponse, RequestAction, RequestContext, UpstreamRequestModifications

from sdk import clock

FOLDER = "/etc/gatewright/plans"  # as files.read of policy-definition.yaml has it
LOOK_SECONDS = 1.0
PLAN = "SELECT plan FROM plans WHERE tenant = ?"


class Lookup:
    """Plans by tenant. One connection serves all threads: sqlite3.threadsafety is 3."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._open()

    def _open(self) -> None:
        self._inode = self._path.stat().st_ino
        self._looked_at = clock.monotonic()
        self._connection = sqlite3.connect(f"file:{quote(str(self._path))}?mode=ro", uri=True, check_same_thread=False)
        self._connection.execute("SELECT tenant, plan FROM plans LIMIT 1")  # an instance without the table is not ready

    def plan(self, tenant: str) -> str | None:
        """None where there is no such tenant."""
        if clock.monotonic() - self._looked_at > LOOK_SECONDS:
            self._look()
        found = self._connection.execute(PLAN, (tenant,)).fetchone()
        return None if found is None else str(found[0])

    def _look(self) -> None:
        """Takes the file that is in the place of the one before, which is closed with the last request in it."""
        self._looked_at = clock.monotonic()
        with contextlib.suppress(OSError, sqlite3.Error):  # while it is being replaced, the one before answers
            if self._path.stat().st_ino != self._inode:
                self._open()

    def close(self) -> None:
        self._connection.close()


def prepare(params: dict[str, Any]) -> Iterator[Lookup]:
    """What reads the file, for all requests of this attachment."""
    with contextlib.closing(Lookup(Path(FOLDER, params["file"]))) as lookup:
        yield lookup


def on_request(ctx: RequestContext, params: dict[str, Any]) -> RequestAction:
    tenants = ctx.headers.get_all(params["header"])
    if len(tenants) != 1:  # upstream would get all of them, and might take another one than we do
        return ImmediateResponse(400, body=b"which tenant?")
    lookup: Lookup = ctx.prepared
    plan = lookup.plan(tenants[0])
    if plan is None:
        return ImmediateResponse(403)
    return UpstreamRequestModifications(set_headers={"x-plan": plan})
