"""Files that this process's own output goes to, which may be moved away while it runs (logrotate(8))."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable

LINK = "/proc/self/fd/{}"


class LogFiles:
    """Remembers the path of each descriptor that is a regular file now."""

    def __init__(self, descriptors: Iterable[int]) -> None:
        self._paths = {number: path for number in descriptors if (path := _path(number)) is not None}

    def reopen(self) -> list[str]:
        """Has each descriptor whose file was moved away, deleted or made anew write to the file that is at its path
        now, which is made with the mode of the old one where it is not there. Returns these paths. Raises OSError;
        then the descriptor writes to what it had.
        """
        moved = {number: path for number, path in self._paths.items() if not _is_at(number, path)}
        for number, path in moved.items():
            mode = stat.S_IMODE(os.fstat(number).st_mode)
            opened = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, mode)
            os.dup2(opened, number, inheritable=os.get_inheritable(number))
            os.close(opened)
        return list(dict.fromkeys(moved.values()))


def _path(descriptor: int) -> str | None:
    """Of a regular file that is at a path; None for anything else."""
    try:
        path = os.readlink(LINK.format(descriptor))  # noqa: PTH115 - what cannot be a path is read too
        regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
    except OSError:
        return None
    return path if regular and _is_at(descriptor, path) else None


def _is_at(descriptor: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))  # noqa: PTH116
    except OSError:
        return False
