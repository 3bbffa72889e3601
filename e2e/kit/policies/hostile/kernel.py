"""Calls that the kernel offers to every process: each has been a way out of a sandbox."""

import ctypes
import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .calls import ADD_KEY, BPF, IO_URING_SETUP, LIBC, MOUNT, PERF_EVENT_OPEN, UNSHARE, USERFAULTFD, syscall
from .evidence import Evidence, evidence

NEW_USER, NEW_NAMESPACE = 0x10000000, 0x00020000
SESSION_KEYRING = -3
SHM_RDONLY = 0o10000
IPC_NOWAIT = 0o4000
READ_ALL = 3  # SYSLOG_ACTION_READ_ALL


def apart(action: Callable[[], object]) -> str:
    """Does it in a process of its own, for it would change the whole process. Raises OSError with its errno."""
    pid = os.fork()
    if pid == 0:
        status = 0
        try:
            action()
        except OSError as error:
            status = error.errno or 1
        os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status > 0:
        raise OSError(status, os.strerror(status))
    if status < 0:
        raise RuntimeError(f"killed by signal {-status}")
    return "done"


def mount() -> None:
    syscall(UNSHARE, NEW_USER | NEW_NAMESPACE)
    syscall(MOUNT, b"none", b"/tmp", b"tmpfs", 0, None)


def closed(descriptor: int) -> str:
    os.close(descriptor)
    return "a descriptor"


def namespaces(_: dict[str, Any]) -> Evidence:
    return evidence(
        {"a user namespace": lambda: apart(lambda: syscall(UNSHARE, NEW_USER)), "a mount": lambda: apart(mount)}
    )


def kernel_log(room: Any) -> str:
    ctypes.set_errno(0)
    if LIBC.klogctl(READ_ALL, room, 128) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return repr(room.raw[:40])


def interfaces(_: dict[str, Any]) -> Evidence:
    blank = ctypes.create_string_buffer(128)
    counting = ctypes.create_string_buffer(b"\1\0\0\0\x80\0\0\0", 128)  # perf_event_attr: software, 128 bytes
    counting[40] = b"\x60"  # exclude_kernel, exclude_hv
    return evidence(
        {
            "io_uring": lambda: closed(syscall(IO_URING_SETUP, 2, ctypes.create_string_buffer(120))),
            "bpf": lambda: closed(syscall(BPF, 0, ctypes.create_string_buffer(b"\2\0\0\0\4\0\0\0\4\0\0\0\1", 72), 72)),
            "perf_event_open": lambda: closed(syscall(PERF_EVENT_OPEN, counting, 0, -1, -1, 0)),
            "userfaultfd": lambda: closed(syscall(USERFAULTFD, 0)),
            "the kernel's log": lambda: kernel_log(blank),
            "keyrings": lambda: syscall(ADD_KEY, b"user", b"hostile", blank, 1, SESSION_KEYRING),
        }
    )


def shared_memory(where: dict[str, Any]) -> Evidence:
    """Objects that another program of the operator's keeps in the kernel."""
    LIBC.shmat.restype = ctypes.c_void_p

    def attempt() -> str:
        ctypes.set_errno(0)
        at = LIBC.shmat(where["shared-memory"], None, SHM_RDONLY)
        if at in {None, ctypes.c_void_p(-1).value}:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        content = ctypes.string_at(at, 8)
        LIBC.shmdt(ctypes.c_void_p(at))
        return content.hex()

    def message() -> str:
        room = ctypes.create_string_buffer(64)
        ctypes.set_errno(0)
        if LIBC.msgrcv(where["messages"], room, 8, 0, IPC_NOWAIT) < 0 and ctypes.get_errno() != errno.ENOMSG:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return "asked for a message of the queue"

    return evidence(
        {
            "System V memory": attempt,
            "System V messages": message,
            "POSIX memory": lambda: Path(where["posix-memory"]).read_text(),
        }
    )


TRIES = {"namespaces": namespaces, "kernel-interfaces": interfaces, "shared-memory": shared_memory}
