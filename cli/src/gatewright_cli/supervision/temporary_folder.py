"""The temporary folder of a process: open to nobody else, empty at each start."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

REMOVE = ("sh", "-c", 'rm -rf -- "$1" || { chmod -R u+rwx -- "$1"; rm -rf -- "$1"; }', "rm")
"""A process of its own: a policy may have left a million files, folders in folders as deep as it could, or some that
nobody may list."""


@dataclass(frozen=True)
class TemporaryFolder:
    """One of them. user: uid and gid that it belongs to; None for ours."""

    path: Path
    user: tuple[int, int] | None = None

    async def make(self, on_pid: Callable[[int], None] = lambda _: None) -> None:
        """Makes it, empty. Raises OSError. on_pid: told the pid of a process that is started here, and reaped here."""
        await self.remove(on_pid)
        self.path.mkdir(mode=0o700, exist_ok=True)  # what could not be removed is no reason to start nothing
        if self.user is not None:
            os.chown(self.path, *self.user)

    async def remove(self, on_pid: Callable[[int], None] = lambda _: None) -> None:
        """Removes it with all that is in it, whatever its modes. on_pid: as `make` has it."""
        if self.path.exists():
            removing = subprocess.Popen([*REMOVE, self.path], stderr=subprocess.DEVNULL)
            on_pid(removing.pid)
            await asyncio.to_thread(removing.wait)
