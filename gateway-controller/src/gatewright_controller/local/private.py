"""This process keeps its memory and what it was started with to itself."""

from __future__ import annotations

import ctypes
import os

PR_SET_DUMPABLE = 4


def keep_private() -> None:
    """No other process of the same user may trace this one, or read its /proc/PID/environ, mem, fd, maps (prctl(2),
    PR_SET_DUMPABLE; proc(5)). It leaves no core file either. Raises OSError where the kernel does not allow it.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
