"""The temporary folder of a process: private to its user, empty at each start."""

from __future__ import annotations

import asyncio
import os
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

REMOVE = ("sh", "-c", 'rm -rf -- "$1" || { chmod -R u+rwx -- "$1"; rm -rf -- "$1"; }', "rm")
"""In a process of its own: a policy may have left a million files, folders of any depth, or folders without
permissions."""


@dataclass(frozen=True)
class TemporaryFolder:
    """A temporary folder. user: uid and gid of its owner; None for this process's."""

    path: Path
    user: tuple[int, int] | None = None

    async def make(self, on_pid: Callable[[int], None] = lambda _: None) -> None:
        """Makes the folder, empty. Raises OSError. on_pid: called with the pid of a process that is started and reaped
        here.
        """
        await self.remove(on_pid)
        self.path.mkdir(mode=0o700, exist_ok=True)  # files that could not be removed do not prevent a start
        if self.user is not None:
            os.chown(self.path, *self.user)

    async def remove(self, on_pid: Callable[[int], None] = lambda _: None) -> None:
        """Removes the folder and its content, whatever the modes. on_pid: as in `make`."""
        if self.path.exists():
            removing = subprocess.Popen([*REMOVE, self.path], stderr=subprocess.DEVNULL)
            on_pid(removing.pid)
            reaper = threading.Thread(target=removing.wait, name="reaper", daemon=True)
            reaper.start()  # by itself, so that the process is reaped also when this is cancelled
            await asyncio.to_thread(reaper.join)
