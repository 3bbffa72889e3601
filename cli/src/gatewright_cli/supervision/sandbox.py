"""Sandboxes this process, before it executes the program that it was started for.

The part of launch.py that only processes with policies need: a module of its own, so that Python caches its bytecode.
Apply it once, in a process with one thread. A part that cannot be applied raises OSError: no program runs with less.

The plan's part `sandbox` (isolation/levels.py makes it):

    limits        {"NOFILE": 4096}: setrlimit(2), soft and hard; never more than the present hard limit
    user          uid and gid to switch to, without other groups; None: no change
    privileges    False: drops all capabilities for good (capabilities(7), PR_SET_NO_NEW_PRIVS)
    reads         paths that must be readable afterwards
    landlock      landlock.ruleset(); None: none
    named         those of its paths that policies ask for: a missing one is reported, and none may be a link, or below
                  one, that was made since the plan
    seccomp       seccomp.program(), in hex; None: none
"""

from __future__ import annotations

import ctypes
import os
import resource
import stat
import struct
import sys

TYPE_CHECKING = False  # importing typing takes longer than all else here
if TYPE_CHECKING:
    from typing import Any

PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 24, 38, 47, 4
CAPABILITIES = 64  # as many as capset(2), version 3, has room for
CAPABILITY_VERSION = 0x20080522
LANDLOCK_CREATE_RULESET, LANDLOCK_ADD_RULE, LANDLOCK_RESTRICT_SELF = 444, 445, 446  # on all machines
LANDLOCK_VERSION = 1
OPENAT2, RESOLVE_NO_SYMLINKS = 437, 4
RULE_PATH, RULE_PORT = 1, 2
SECCOMP = {"x86_64": 317, "aarch64": 277}
SECCOMP_SET_MODE_FILTER = 1
SECCOMP_SPEC_ALLOW = 4  # else kernels before 5.16 make the process slower
INSTRUCTION_BYTES = 8
PROC = "/proc/"


def apply(plan: dict[str, Any], libc: ctypes.CDLL) -> None:
    """Applies the plan. Raises OSError if a part cannot be applied."""
    _limit(plan["limits"])
    ruleset = _ruleset(plan["landlock"], plan["named"], libc) if plan["landlock"] else None
    if not plan["privileges"]:
        _drop_bounding_set(libc)
    if plan["user"]:
        uid, gid = plan["user"]
        os.setgroups([])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
    if not plan["privileges"]:
        _drop_capabilities(libc)
        _must(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl(PR_SET_NO_NEW_PRIVS)")
    for path in plan["reads"]:
        _refuse_unreadable(path)
    if ruleset is not None:
        _must(libc.syscall(LANDLOCK_RESTRICT_SELF, ruleset, 0), "landlock_restrict_self")
        os.close(ruleset)
    if plan["seccomp"]:
        _filter(bytes.fromhex(plan["seccomp"]), libc)


def landlock_abi(libc: ctypes.CDLL) -> int:
    """The kernel's Landlock ABI, from 1; 0 if it has no Landlock, or it is not enabled or not allowed here."""
    return max(0, int(libc.syscall(LANDLOCK_CREATE_RULESET, None, 0, LANDLOCK_VERSION)))


def _limit(limits: dict[str, int]) -> None:
    for name, wanted in limits.items():
        kind = getattr(resource, f"RLIMIT_{name}")
        _, most = resource.getrlimit(kind)
        limit = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
        resource.setrlimit(kind, (limit, limit))


def _ruleset(plan: dict[str, Any], named: list[str], libc: ctypes.CDLL) -> int:
    """A descriptor of the ruleset. Missing paths have no rule."""
    attributes = struct.pack("=QQQ", *plan["handled"])
    # Kernels of an older ABI have a shorter struct, and accept a longer one if the members unknown to them are zero.
    ruleset = libc.syscall(LANDLOCK_CREATE_RULESET, attributes, len(attributes), 0)
    _must(ruleset, "landlock_create_ruleset")
    for path, rights in plan["paths"]:
        try:
            descriptor = _open_without_links(path, libc) if path in named else os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError as error:
            if path in named:
                sys.stderr.write(f"files: {path}: {error.strerror}: it is not opened to the policies that ask for it\n")
            continue
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            rights &= plan["of_one_file"]
        rule = struct.pack("=Qi", rights, descriptor)
        _must(libc.syscall(LANDLOCK_ADD_RULE, ruleset, RULE_PATH, rule, 0), f"landlock_add_rule for {path}")
        if path.startswith(PROC):  # a rule is for an inode, and the kernel makes new ones here unless they are in use
            os.set_inheritable(descriptor, True)
        else:
            os.close(descriptor)
    for port, rights in plan["ports"]:
        rule = struct.pack("=QQ", rights, port)
        _must(libc.syscall(LANDLOCK_ADD_RULE, ruleset, RULE_PORT, rule, 0), f"landlock_add_rule for port {port}")
    return int(ruleset)


def _open_without_links(path: str, libc: ctypes.CDLL) -> int:
    """Opens a path. Fails if it has a link, which policies may have made since the plan in a folder that they write."""
    if path.startswith(PROC):
        return os.open(path, os.O_PATH | os.O_CLOEXEC)
    how = struct.pack("=QQQ", os.O_PATH | os.O_CLOEXEC, 0, RESOLVE_NO_SYMLINKS)
    descriptor = int(libc.syscall(OPENAT2, -1, os.fsencode(path), how, len(how)))
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return descriptor


def _drop_bounding_set(libc: ctypes.CDLL) -> None:
    """Drops the bounding set, so that no program executed as root gets capabilities again. Without the right to drop
    them, this process has none to pass on.
    """
    for capability in range(CAPABILITIES):
        libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
    libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)


def _drop_capabilities(libc: ctypes.CDLL) -> None:
    header, none = struct.pack("=Ii", CAPABILITY_VERSION, 0), bytes(24)
    _must(libc.capset(header, none), "capset")


def _filter(program: bytes, libc: ctypes.CDLL) -> None:
    instructions = ctypes.create_string_buffer(program, len(program))
    pointer = struct.pack("@HP", len(program) // INSTRUCTION_BYTES, ctypes.addressof(instructions))
    number = SECCOMP[os.uname().machine]
    _must(libc.syscall(number, SECCOMP_SET_MODE_FILTER, SECCOMP_SPEC_ALLOW, pointer), "seccomp")


def _refuse_unreadable(path: str) -> None:
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
        return
    except OSError as error:
        if not isinstance(error, PermissionError):
            raise
    closed = _closed_part(path)
    status = os.stat(closed)  # noqa: PTH116 - pathlib takes longer to import than all else here
    raise PermissionError(
        0,
        f"expected that user {os.getuid()}, without privileges, can read {path}, got {closed} with mode "
        f"{stat.S_IMODE(status.st_mode):o} and owner {status.st_uid}: open it (chmod o+rx), or have the build and its "
        "python3, or TMPDIR, elsewhere, or run with another --isolation",
    )


def _closed_part(path: str) -> str:
    """The first folder of the path that this user may not enter, or the path itself."""
    parts = os.path.realpath(path).split("/")
    for end in range(2, len(parts)):
        folder = "/".join(parts[:end])
        if not os.access(folder, os.X_OK):
            return folder
    return path


def _must(result: int, call: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}")
