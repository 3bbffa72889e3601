"""Shared memory to which a process writes the stack of one of its threads, without the help of its interpreter.

A thread that gets SIGUSR2 writes its stack there (in faulthandler's format), also while a policy holds the interpreter
in a regular expression or a package in C. The page has a fixed size, so that a process cannot make it grow.
"""

from __future__ import annotations

import asyncio
import ctypes
import fcntl
import os
import signal
import time

DESCRIPTOR = 4
"""The process finds the page at this descriptor, after that of its socket."""
BYTES = 256 * 1024
ABOVE = 16  # the least descriptor here, so that those which the launcher moves do not overwrite each other
POLL_SECONDS = 0.005
SECONDS = 0.5
BEGINS = b"Stack (most recent call first):"
TGKILL = {"x86_64": 234, "aarch64": 131}


class StackPage:
    """The page of one process. Close it. Raises OSError if the kernel refuses it."""

    def __init__(self) -> None:
        memory = os.memfd_create("stacks", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(memory, BYTES)
            fcntl.fcntl(memory, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL)
            self.descriptor = fcntl.fcntl(memory, fcntl.F_DUPFD_CLOEXEC, ABOVE)
        finally:
            os.close(memory)

        self._is_open = True

    def close(self) -> None:
        """Closes this process's descriptor; the other process keeps its own."""
        self._is_open = False
        os.close(self.descriptor)

    async def stack_of(self, pid: int, thread: int, seconds: float = SECONDS) -> list[str]:
        """The lines of a thread's stack, the innermost frame first; none if it writes none within `seconds`.

        The page is closed before the process is reaped, so that no other process gets the signal. The thread gets two
        signals: once its second stack begins, the first one is complete.
        """
        if not self._is_open:
            return []
        os.pwrite(self.descriptor, bytes(BYTES), 0)
        os.lseek(self.descriptor, 0, os.SEEK_SET)  # the process writes at the same offset
        end = time.monotonic() + seconds
        for answers in (1, 2):
            if not self._is_open or not _signal(pid, thread):
                return []
            while self._read().count(BEGINS) < answers and time.monotonic() < end:
                await asyncio.sleep(POLL_SECONDS)
        first = self._read().split(BEGINS)[1:2]
        return first[0].decode("utf-8", "backslashreplace").splitlines() if first else []

    def _read(self) -> bytes:
        return os.pread(self.descriptor, BYTES, 0).rstrip(b"\0") if self._is_open else b""


def _signal(pid: int, thread: int) -> bool:
    """Sends SIGUSR2 to one thread (tgkill(2)). False if there is no such thread, or no such call."""
    number = TGKILL.get(os.uname().machine)
    return number is not None and ctypes.CDLL(None).syscall(number, pid, thread, int(signal.SIGUSR2)) == 0
