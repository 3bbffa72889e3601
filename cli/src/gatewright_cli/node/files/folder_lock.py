"""Locks a folder (flock(2)) until the process ends, however it ends."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


def lock_folder(path: Path, *, follow: bool = True) -> int | None:
    """A descriptor that holds the folder's lock; None if another process holds it. Raises OSError.

    follow: whether the path may be a link to the folder.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | (0 if follow else os.O_NOFOLLOW))
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor
