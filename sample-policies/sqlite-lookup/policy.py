"""Sends the plan of the request's tenant to upstream, from a table in a SQLite file; unknown tenants get 403.

The definition gives read access to the file's folder. The file may be replaced (`mv`), which the policy checks once a
second. Leave `journal_mode` at `DELETE` when you write it: readers of a WAL need write access beside the file.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sdk import clock
from sdk.policy import ImmediateResponse, RequestAction, RequestContext, UpstreamRequestModifications

FOLDER = "/etc/gatewright/plans"  # files.read of policy-definition.yaml names it too
CHECK_SECONDS = 1.0
PLAN = "SELECT plan FROM plans WHERE tenant = ?"


class Lookup:
    """Plans by tenant. One connection serves all threads: sqlite3.threadsafety is 3."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._open()

    def _open(self) -> None:
        self._inode = self._path.stat().st_ino
        self._checked_at = clock.monotonic()
        self._connection = sqlite3.connect(f"file:{quote(str(self._path))}?mode=ro", uri=True, check_same_thread=False)
        self._connection.execute("SELECT tenant, plan FROM plans LIMIT 1")  # or the instance is not ready

    def plan(self, tenant: str) -> str | None:
        """The plan of a tenant; None if the tenant is unknown."""
        if clock.monotonic() - self._checked_at > CHECK_SECONDS:
            self._reopen_if_replaced()
        row = self._connection.execute(PLAN, (tenant,)).fetchone()
        return None if row is None else str(row[0])

    def _reopen_if_replaced(self) -> None:
        """Opens the file if it was replaced. The old one is closed after the last request that reads it."""
        self._checked_at = clock.monotonic()
        with contextlib.suppress(OSError, sqlite3.Error):  # while it is being replaced, the old file remains in use
            if self._path.stat().st_ino != self._inode:
                self._open()

    def close(self) -> None:
        self._connection.close()


def prepare(params: dict[str, Any]) -> Iterator[Lookup]:
    """The reader of the file, for all requests of this attachment."""
    with contextlib.closing(Lookup(Path(FOLDER, params["file"]))) as lookup:
        yield lookup


def on_request(ctx: RequestContext, params: dict[str, Any]) -> RequestAction:
    tenants = ctx.headers.get_all(params["header"])
    if len(tenants) != 1:  # upstream would get all of them, and might use another one
        return ImmediateResponse(400, body=b"which tenant?")
    lookup: Lookup = ctx.prepared
    plan = lookup.plan(tenants[0])
    if plan is None:
        return ImmediateResponse(403)
    return UpstreamRequestModifications(set_headers={"x-plan": plan})
