"""A limit on the memory of the process without cgroups: allocations above it fail.

RLIMIT_DATA counts private writable memory (setrlimit(2), proc_pid_status(5): VmData), including untouched stacks of
threads. So the limit is the present amount, plus the memory that the process may still use, plus threads to come.
"""

from __future__ import annotations

import resource
from pathlib import Path

STATUS = Path("/proc/self/status")
THREADS_TO_COME = 24
KIB = 1024
_bound = 0  # bytes, with the threads of the start and THREADS_TO_COME; 0: no limit


def limit(resident: int) -> None:
    """Lets the process grow to about `resident` bytes of resident memory; above, Python raises MemoryError or ends."""
    global _bound
    data, now = (_status(name) for name in ("VmData", "VmRSS"))
    _bound = data + max(0, resident - now) + THREADS_TO_COME * _stack()
    make_room(0)


def make_room(threads: int) -> None:
    """Raises the limit by the stacks of so many further threads."""
    if _bound:
        _, most = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (_bound + threads * _stack(), most))


def _stack() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_STACK)
    return 8 * KIB * KIB if soft == resource.RLIM_INFINITY else soft


def _status(name: str) -> int:
    """A field of /proc/self/status, in bytes."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) * KIB
