"""System calls that Python has no names for (x86-64 and arm64 have the same numbers from 424 on)."""

import ctypes
import os
import platform

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.syscall.restype = ctypes.c_long
X86 = platform.machine() == "x86_64"
PERF_EVENT_OPEN = 298 if X86 else 241
BPF = 321 if X86 else 280
USERFAULTFD = 323 if X86 else 282
ADD_KEY = 248 if X86 else 217
UNSHARE = 272 if X86 else 97
MOUNT = 165 if X86 else 40
PROCESS_VM_READV = 310 if X86 else 270
PTRACE = 101 if X86 else 117
IO_URING_SETUP = 425
PIDFD_OPEN = 434
PIDFD_GETFD = 438


def syscall(number: int, *arguments: object) -> int:
    """Makes a system call; its result. Raises OSError."""
    ctypes.set_errno(0)
    result = int(LIBC.syscall(ctypes.c_long(number), *(_wide(argument) for argument in arguments)))
    if result == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def _wide(argument: object) -> object:
    return ctypes.c_long(argument) if isinstance(argument, int) else argument
