"""The temporary folders of a run: one for each process that runs policies.

They are not in the run directory, since policies write to them and must not reach its sockets; and not in memory,
unless the machine's temporary directory is.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from pathlib import Path

from gatewright_documents.os_errors import os_reason

from gatewright_cli.mistakes import PreflightError
from gatewright_cli.node.files.folder_lock import lock_folder
from gatewright_cli.supervision.temporary_folder import REMOVE

PREFIX = "gatewright-tmp-"
UNFINISHED = ".new-"  # it has no lock yet


class TemporaryFolders:
    """The folder of a run's temporary folders. Open it, use it, close it. It is locked (flock(2)) meanwhile, so that
    folders of killed runs are recognized.

    Other users may pass through it, but not list it: users that policies run as own folders in it.
    """

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock = lock

    @classmethod
    def open(cls) -> TemporaryFolders:
        """Makes the folder, and removes those of killed runs. Raises PreflightError if it cannot be made."""
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
        lock = lock_folder(made, follow=False)
        assert lock is not None, "no other process knows its name"
        return cls(made.rename(home / made.name.removeprefix(UNFINISHED)), lock)

    def close(self) -> None:
        """Removes the folder with its content."""
        subprocess.run([*REMOVE, self.path], stderr=subprocess.DEVNULL, check=False)
        os.close(self._lock)


def _remove_abandoned(home: Path) -> None:
    for path in home.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):  # removed meanwhile, or another user's
            if path.lstat().st_uid == os.getuid() and (lock := lock_folder(path, follow=False)) is not None:
                subprocess.run([*REMOVE, path], stderr=subprocess.DEVNULL, check=False)
                os.close(lock)
