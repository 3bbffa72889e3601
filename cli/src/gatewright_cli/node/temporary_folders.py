"""Temporary folders of a run: one for each process in which policies run.

They are not in the run directory, for policies write there, and its sockets are not for them; and not in memory, unless
the machine's temporary directory is.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from pathlib import Path

from gatewright_documents.os_errors import os_reason

from gatewright_cli.mistakes import PreflightError
from gatewright_cli.node.folder_lock import locked
from gatewright_cli.supervision.temporary_folder import REMOVE

PREFIX = "gatewright-tmp-"
UNFINISHED = ".new-"  # it has no lock yet


class TemporaryFolders:
    """Where they are. Open it, use it, close it: it is locked (flock(2)) meanwhile, so what a killed run left is known.

    Others may pass through, and see no names: the users that policies run as own folders in it.
    """

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock = lock

    @classmethod
    def open(cls) -> TemporaryFolders:
        """Takes away those of killed runs. Raises PreflightError where none can be made."""
        try:
            home = Path(tempfile.gettempdir())
            _remove_abandoned(home)
            made = Path(tempfile.mkdtemp(prefix=f"{UNFINISHED}{PREFIX}", dir=home))
        except OSError as error:
            mistake = (
                f"temporary folders of executors: {os_reason(error)}: name a folder that can be written to with TMPDIR"
            )
            raise PreflightError([mistake]) from error
        made.chmod(0o711)
        lock = locked(made, follow=False)
        assert lock is not None, "nobody else knows its name"
        return cls(made.rename(home / made.name.removeprefix(UNFINISHED)), lock)

    def close(self) -> None:
        """Removes all that is in it."""
        subprocess.run([*REMOVE, self.path], stderr=subprocess.DEVNULL, check=False)
        os.close(self._lock)


def _remove_abandoned(home: Path) -> None:
    for path in home.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):  # gone meanwhile, or not ours
            if path.lstat().st_uid == os.getuid() and (lock := locked(path, follow=False)) is not None:
                subprocess.run([*REMOVE, path], stderr=subprocess.DEVNULL, check=False)
                os.close(lock)
