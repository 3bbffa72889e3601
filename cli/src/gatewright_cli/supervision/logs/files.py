"""The files that this process's own output goes to, which logrotate(8) may move away while it runs."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable

LINK = "/proc/self/fd/{}"


class LogFiles:
    """Keeps the path of each descriptor that is a regular file when this object is made."""

    def __init__(self, descriptors: Iterable[int]) -> None:
        self._paths = {number: path for number in descriptors if (path := _path(number)) is not None}

    def reopen(self) -> list[str]:
        """Reopens each descriptor whose file was moved, deleted or replaced: it then writes to the file at its path,
        which is made with the mode of the old one if it does not exist. Returns these paths. Raises OSError; then the
        descriptor keeps its old file.
        """
        moved = {number: path for number, path in self._paths.items() if not _is_at(number, path)}
        for number, path in moved.items():
            mode = stat.S_IMODE(os.fstat(number).st_mode)
            opened = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, mode)
            os.dup2(opened, number, inheritable=os.get_inheritable(number))
            os.close(opened)
        return list(dict.fromkeys(moved.values()))


def _path(descriptor: int) -> str | None:
    """The path of a descriptor of a regular file; None for anything else."""
    try:
        path = os.readlink(LINK.format(descriptor))  # noqa: PTH115 - it may be no path
        regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
    except OSError:
        return None
    return path if regular and _is_at(descriptor, path) else None


def _is_at(descriptor: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))  # noqa: PTH116
    except OSError:
        return False
