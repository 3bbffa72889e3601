"""What keeps the import of policies from doing more than that. Standard library only: it runs in that process.

Landlock (https://docs.kernel.org/userspace-api/landlock.html): no file is written but in one folder and a few devices,
no process outside is looked into or sent a signal. Seccomp (https://docs.kernel.org/userspace-api/seccomp_filter.html):
no socket is made, so there is no network, and no server on this machine. Neither needs a privilege, and whatever the
process starts is kept by them too. Root's capabilities (capabilities(7)), which reach past them, are given up. Files
can be read, for there is nowhere to carry them to.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import struct
from collections.abc import Callable, Iterator

PR_SET_NO_NEW_PRIVS = 38
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446  # the same on all architectures
RULESET_VERSION = 1  # a flag of CREATE_RULESET: asks for the newest version
PATH_BENEATH = 1

WRITES = 1 << 1 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 8 | 1 << 9 | 1 << 10 | 1 << 11 | 1 << 12
REFER, TRUNCATE, IOCTL_DEVICE = 1 << 13, 1 << 14, 1 << 15  # of versions 2, 3, 5
ON_FILES = 1 << 1 | TRUNCATE | IOCTL_DEVICE
BIND_AND_CONNECT = 1 << 0 | 1 << 1  # TCP, version 4
ABSTRACT_SOCKETS_AND_SIGNALS = 1 << 0 | 1 << 1  # version 6
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/shm")  # noqa: S108 - the folder itself
"""Such as a lock of multiprocessing, in /dev/shm, is made of."""

CAPABILITY_VERSION = 0x20080522
CAP_DAC_READ_SEARCH = 1 << 2
"""Is kept: root may build what lies in another user's folders."""
SET_SECCOMP_FILTER = 1
ALLOW, REFUSE, NO_SYSTEM_CALL = 0x7FFF0000, 0x00050000, 0x00050000 | errno.ENOSYS
LOAD, JUMP_IF_EQUAL, JUMP_IF_AT_LEAST, RETURN = 0x20, 0x15, 0x35, 0x06  # BPF
NUMBER, ARCHITECTURE = 0, 4  # offsets in struct seccomp_data
X32 = 0x40000000
NO_NETWORK, NOT_PERMITTED = REFUSE | errno.ENETUNREACH, REFUSE | errno.EPERM
MACHINES = {
    # machine: its name in the kernel; seccomp(2) itself; what is refused, and how
    "x86_64": (0xC000003E, 317, {41: NO_NETWORK, 425: NO_SYSTEM_CALL, 101: NOT_PERMITTED, 310: NOT_PERMITTED,
                                 311: NOT_PERMITTED, 250: NOT_PERMITTED}),
    "aarch64": (0xC00000B7, 277, {198: NO_NETWORK, 425: NO_SYSTEM_CALL, 117: NOT_PERMITTED, 270: NOT_PERMITTED,
                                  271: NOT_PERMITTED, 219: NOT_PERMITTED}),
}  # fmt: skip
"""socket; io_uring_setup, which makes sockets too; ptrace, process_vm_readv, process_vm_writev; keyctl."""


def enter_sandbox(folder: str) -> list[str]:
    """Confines this process, which has but one thread, for good. folder: where it may write. Answers what this kernel
    would not do of it.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    lacks = []
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return [f"no_new_privs: {_why()}"]
    steps: dict[str, Callable[[], None]] = {
        "capabilities": lambda: _give_up_capabilities(libc),
        "landlock": lambda: _landlock(libc, folder),
        "seccomp": lambda: _seccomp(libc),
    }
    for name, step in steps.items():
        try:
            step()
        except OSError as error:
            lacks.append(f"{name}: {error.strerror}")
    return lacks


def _give_up_capabilities(libc: ctypes.CDLL) -> None:
    header, sets = struct.pack("=Ii", CAPABILITY_VERSION, 0), ctypes.create_string_buffer(24)
    if libc.capget(header, sets) == 0:
        _, permitted, *_ = struct.unpack("=6I", sets.raw)
        kept = permitted & CAP_DAC_READ_SEARCH
        if libc.capset(header, struct.pack("=6I", kept, kept, 0, 0, 0, 0)) == 0:
            return
    raise OSError(ctypes.get_errno(), _why())


def _landlock(libc: ctypes.CDLL, folder: str) -> None:
    version = _system_call(libc, CREATE_RULESET, None, 0, RULESET_VERSION)
    writes = WRITES | (REFER if version >= 2 else 0) | (TRUNCATE if version >= 3 else 0)
    writes |= IOCTL_DEVICE if version >= 5 else 0
    network = BIND_AND_CONNECT if version >= 4 else 0
    scope = ABSTRACT_SOCKETS_AND_SIGNALS if version >= 6 else 0
    attributes = struct.pack("=QQQ", writes, network, scope)[: 24 if version >= 6 else 16 if version >= 4 else 8]
    ruleset = _system_call(libc, CREATE_RULESET, attributes, len(attributes), 0)
    try:
        for path in (folder, *DEVICES):
            with contextlib.suppress(FileNotFoundError), _opened(path) as opened:
                allowed = writes if os.path.isdir(path) else writes & ON_FILES  # noqa: PTH112 - no pathlib here
                _system_call(libc, ADD_RULE, ruleset, PATH_BENEATH, struct.pack("=Qi", allowed, opened), 0)
        _system_call(libc, RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def _seccomp(libc: ctypes.CDLL) -> None:
    if os.uname().machine not in MACHINES:
        raise OSError(errno.ENOSYS, f"not known of {os.uname().machine}")
    architecture, system_call, refused = MACHINES[os.uname().machine]
    program = [
        (LOAD, 0, 0, ARCHITECTURE),
        (JUMP_IF_EQUAL, 1, 0, architecture),
        (RETURN, 0, 0, NO_SYSTEM_CALL),
        (LOAD, 0, 0, NUMBER),
        (JUMP_IF_AT_LEAST, 0, 1, X32),
        (RETURN, 0, 0, NO_SYSTEM_CALL),
    ]
    for number, answer in refused.items():
        program += [(JUMP_IF_EQUAL, 0, 1, number), (RETURN, 0, 0, answer)]
    program.append((RETURN, 0, 0, ALLOW))
    code = b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
    kept = ctypes.create_string_buffer(code, len(code))
    described = struct.pack("HxxxxxxP", len(program), ctypes.addressof(kept))
    _system_call(libc, system_call, SET_SECCOMP_FILTER, 0, described)


def _system_call(libc: ctypes.CDLL, number: int, *arguments: int | bytes | None) -> int:
    converted = [ctypes.c_long(argument) if isinstance(argument, int) else argument for argument in arguments]
    answer: int = libc.syscall(ctypes.c_long(number), *converted)
    if answer < 0:
        raise OSError(ctypes.get_errno(), _why())
    return answer


def _why() -> str:
    return os.strerror(ctypes.get_errno())


@contextlib.contextmanager
def _opened(path: str) -> Iterator[int]:
    opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        yield opened
    finally:
        os.close(opened)
