"""The lock of a folder (flock(2)): held for as long as a run has it, however that ends."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


def locked(path: Path, *, follow: bool = True) -> int | None:
    """A descriptor with the folder's lock; None where another process has it. Raises OSError.

    follow: whether the path may be a link to the folder.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | (0 if follow else os.O_NOFOLLOW))
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor
