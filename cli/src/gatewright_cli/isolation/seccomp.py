"""A seccomp filter (seccomp(2)) for processes in which policies run, as the BPF program that the kernel takes.

It refuses what Landlock cannot: reading and changing other processes, sockets that Landlock does not cover, and
everything that could undo the rest. All other calls are allowed. A call that the filter allows for all arguments costs
nothing: the kernel caches such calls (seccomp_cache_prepare).
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from gatewright_cli.isolation.syscalls import AARCH64, NUMBERS, X86_64

MACHINES = {"x86_64": (0xC000003E, X86_64), "aarch64": (0xC00000B7, AARCH64)}
"""uname(2)'s machine → AUDIT_ARCH_… (linux/audit.h), and which column of NUMBERS it has."""
X32_BIT = 0x40000000  # system calls of another ABI on x86_64, with numbers of its own

LOAD, AND, JUMP_IF_EQUAL, JUMP_IF_AT_LEAST, RETURN = 0x20, 0x54, 0x15, 0x35, 0x06  # linux/bpf_common.h
ALLOW, FAIL = 0x7FFF0000, 0x00050000  # SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO
NUMBER_AT, MACHINE_AT, ARGUMENTS_AT, ARGUMENT_BYTES = 0, 4, 16, 8  # struct seccomp_data
REFUSED = FAIL | errno.EPERM
UNKNOWN = FAIL | errno.ENOSYS

OTHER_PROCESSES = (
    "kcmp", "migrate_pages", "move_pages", "perf_event_open", "pidfd_getfd", "process_madvise", "process_mrelease",
    "process_vm_readv", "process_vm_writev", "ptrace",
)  # fmt: skip
THE_MACHINE = (
    "acct", "adjtimex", "bpf", "clock_adjtime", "clock_settime", "delete_module", "finit_module", "init_module",
    "kexec_file_load", "kexec_load", "quotactl", "quotactl_fd", "reboot", "setdomainname", "sethostname",
    "settimeofday", "swapoff", "swapon", "syslog",
)  # fmt: skip
NAMESPACES = (
    "chroot", "fsconfig", "fsmount", "fsopen", "fspick", "mount", "mount_setattr", "move_mount", "open_by_handle_at",
    "open_tree", "open_tree_attr", "pivot_root", "setns", "umount2", "unshare",
)  # fmt: skip
KEPT_BY_THE_KERNEL = (
    "add_key", "keyctl", "mq_open", "mq_unlink", "msgctl", "msgget", "msgrcv", "msgsnd", "request_key", "semctl",
    "semget", "semop", "semtimedop", "shmat", "shmctl", "shmget",
)  # fmt: skip
"""Objects of a user, not of a process: keys, and System V and POSIX objects without a path."""
AROUND_THE_FILTER = ("io_uring_enter", "io_uring_register", "io_uring_setup", "userfaultfd")
ATTRIBUTES = (
    "chmod", "chown", "fchmod", "fchmodat", "fchmodat2", "fchown", "fchownat", "file_setattr", "fremovexattr",
    "fsetxattr", "futimesat", "lchown", "lremovexattr", "lsetxattr", "removexattr", "removexattrat", "setxattr",
    "setxattrat", "utime", "utimensat", "utimes",
)  # fmt: skip
"""They change any file of the same user: Landlock does not check them."""
F_SETLEASE, F_SETDELEG = 1024, 1040
FS_IOC_SETFLAGS, FS_IOC_SETVERSION, FS_IOC_FSSETXATTR = 0x40086602, 0x40087602, 0x401C5820
FS_IOC_ENABLE_VERITY, FS_IOC_SET_ENCRYPTION_POLICY = 0x40806685, 0x800C6613
ON_READABLE_FILES = {
    "fcntl": (F_SETLEASE, F_SETDELEG),
    "ioctl": (
        *(FS_IOC_SETFLAGS, FS_IOC_SETVERSION, FS_IOC_FSSETXATTR),
        *(FS_IOC_ENABLE_VERITY, FS_IOC_SET_ENCRYPTION_POLICY),
    ),
}
"""System call → values of its second argument that are refused: they work on a file of the same user that is open for
reading alone. A lease blocks every process that opens the file, for 45 s (fcntl(2), /proc/sys/fs/lease-break-time)."""

OF_ITSELF = ("prlimit64", "sched_setaffinity", "sched_setattr", "sched_setparam", "sched_setscheduler")
"""Allowed where their first argument, a pid, is 0: any process of the same user could be named."""

NAMESPACE_FLAGS = 0x7E020000  # CLONE_NEW… of clone(2)
MSG_FASTOPEN = 0x20000000
TYPE_BITS = 0xF  # of socket(2)'s type, without SOCK_CLOEXEC and SOCK_NONBLOCK
ANY_PROTOCOL = 0
NETLINK_ROUTE = 0  # getaddrinfo(3) sorts addresses by it

Condition: TypeAlias = tuple[int, int | None, tuple[int, ...]]
"""An argument's index, a mask for it or None, and the allowed values. Of its lower 32 bits."""
Clause: TypeAlias = tuple[Condition, ...]
"""All of them must hold."""
Rules: TypeAlias = Mapping[str, Sequence[Clause]]
"""System call → clauses, of which one must hold for it to be allowed; none: it never is."""
Instruction: TypeAlias = tuple[int, int, int, int]


@dataclass(frozen=True)
class Sockets:
    """Which sockets may be opened. Pairs of connected Unix sockets always may.

    streams: TCP. datagrams: UDP. unix: Unix sockets at a path, and listening. every_port: whether TCP connections may
    go to every port; if not, calls that connect without connect(2), and so past Landlock, are refused.
    """

    streams: bool = True
    datagrams: bool = True
    unix: bool = False
    every_port: bool = True


def program(machine: str, sockets: Sockets, *, attributes: bool) -> bytes:
    """struct sock_filter, one after the other. attributes: whether files' modes, owners and times may be changed, and
    leases taken.

    Raises KeyError for a machine that is not one of MACHINES.
    """
    audit, column = MACHINES[machine]
    instructions = [(LOAD, 0, 0, MACHINE_AT), (JUMP_IF_EQUAL, 1, 0, audit), _return(REFUSED), (LOAD, 0, 0, NUMBER_AT)]
    if column == X86_64:
        instructions += [(JUMP_IF_AT_LEAST, 0, 1, X32_BIT), _return(REFUSED)]
    for name, clauses in _rules(sockets, attributes).items():
        number = NUMBERS[name][column]
        if number is not None:
            instructions += _call(number, clauses)
    for name, values in () if attributes else ON_READABLE_FILES.items():
        number = NUMBERS[name][column]
        assert number is not None
        instructions += _call_unless(number, 1, values)
    clone3 = NUMBERS["clone3"][column]
    assert clone3 is not None
    # Its flags are in memory, which a filter cannot read; the C library then uses clone.
    instructions += [(JUMP_IF_EQUAL, 0, 1, clone3), _return(UNKNOWN), _return(ALLOW)]
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in instructions)


def _rules(sockets: Sockets, attributes: bool) -> Rules:
    itself = ((0, None, (0,)),)
    never = [*OTHER_PROCESSES, *THE_MACHINE, *NAMESPACES, *KEPT_BY_THE_KERNEL, *AROUND_THE_FILTER]
    rules: dict[str, Sequence[Clause]] = dict.fromkeys(never if attributes else [*never, *ATTRIBUTES], ())
    rules |= {name: [itself] for name in OF_ITSELF}
    # PRIO_PROCESS, IOPRIO_WHO_PROCESS
    rules |= {"setpriority": [((0, None, (0,)), (1, None, (0,)))], "ioprio_set": [((0, None, (1,)), (1, None, (0,)))]}
    rules["clone"] = [((0, NAMESPACE_FLAGS, (0,)),)]
    return _socket_rules(sockets) | rules  # in this order: the calls of requests are checked first


def _socket_rules(sockets: Sockets) -> dict[str, Sequence[Clause]]:
    rules: dict[str, Sequence[Clause]] = {"socket": list(_families(sockets))}
    if not sockets.unix:  # a datagram socket of a pair could still be sent from to any path
        connected = (socket.SOCK_STREAM, socket.SOCK_SEQPACKET)
        rules["socketpair"] = [((0, None, (socket.AF_UNIX,)), (1, TYPE_BITS, connected))]
        rules["listen"] = ()  # Landlock knows bind(2); a socket that listens without it gets a port as well
    if not sockets.every_port:
        where = {"sendto": 3, "sendmsg": 2, "sendmmsg": 3}
        rules |= {name: [((index, MSG_FASTOPEN, (0,)),)] for name, index in where.items()}
    return rules


def _families(sockets: Sockets) -> Iterable[Clause]:
    internet = (0, None, (socket.AF_INET, socket.AF_INET6))
    if sockets.streams:  # not MPTCP, SCTP and SMC, to which Landlock's ports do not apply
        yield internet, (1, TYPE_BITS, (socket.SOCK_STREAM,)), (2, None, (ANY_PROTOCOL, socket.IPPROTO_TCP))
    if sockets.datagrams:
        yield internet, (1, TYPE_BITS, (socket.SOCK_DGRAM,)), (2, None, (ANY_PROTOCOL, socket.IPPROTO_UDP))
    if sockets.streams or sockets.datagrams:
        yield (0, None, (socket.AF_NETLINK,)), (2, None, (NETLINK_ROUTE,))
    if sockets.unix:
        yield ((0, None, (socket.AF_UNIX,)),)


def _call(number: int, clauses: Sequence[Clause]) -> list[Instruction]:
    body = [instruction for clause in clauses for instruction in _clause(clause)] + [_return(REFUSED)]
    return [(JUMP_IF_EQUAL, 0, len(body), number), *body]


def _call_unless(number: int, index: int, values: Sequence[int]) -> list[Instruction]:
    """Refuses the call if an argument has one of these values."""
    body: list[Instruction] = [(LOAD, 0, 0, ARGUMENTS_AT + ARGUMENT_BYTES * index)]
    body += [(JUMP_IF_EQUAL, len(values) - at, 0, value) for at, value in enumerate(values)]
    body += [_return(ALLOW), _return(REFUSED)]
    return [(JUMP_IF_EQUAL, 0, len(body), number), *body]


def _clause(clause: Clause) -> list[Instruction]:
    """Allows the call if all conditions hold; else continues behind the clause."""
    instructions: list[Instruction] = [_return(ALLOW)]
    for index, mask, values in reversed(clause):  # from its end, so that the jump distances are known
        condition: list[Instruction] = [(LOAD, 0, 0, ARGUMENTS_AT + ARGUMENT_BYTES * index)]
        if mask is not None:
            condition.append((AND, 0, 0, mask))
        last = len(values) - 1
        condition += [
            (JUMP_IF_EQUAL, last - at, len(instructions) if at == last else 0, value) for at, value in enumerate(values)
        ]
        instructions = condition + instructions
    return instructions


def _return(verdict: int) -> Instruction:
    return RETURN, 0, 0, verdict
