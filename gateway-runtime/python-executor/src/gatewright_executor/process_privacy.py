"""Protects this process's memory and environment from other processes of its user."""

from __future__ import annotations

import ctypes
import os

PR_SET_DUMPABLE = 4


def keep_private() -> None:
    """Prevents other processes of the same user from tracing this one, and from reading its /proc/PID/environ, mem, fd
    and maps (prctl(2), PR_SET_DUMPABLE; proc(5)). It also leaves no core file. OSError if the kernel refuses.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
