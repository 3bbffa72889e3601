"""The other processes of the node: where["processes"] is {name: {"pid", "address"}}, `address` one that is mapped."""

import ctypes
import os
import re
import resource
import signal
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from .calls import PIDFD_GETFD, PIDFD_OPEN, PROCESS_VM_READV, PTRACE, syscall
from .evidence import Evidence, RefusedError, evidence

PTRACE_SEIZE = 0x4206
MOST_DESCRIPTORS = 64


class Span(ctypes.Structure):
    """struct iovec."""

    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


def of_each(attempt: Callable[[int, int], object]) -> Callable[[dict[str, Any]], Evidence]:
    """A try of all processes: `attempt` is given each one's pid and address."""

    def run(where: dict[str, Any]) -> Evidence:
        processes = where["processes"].items()
        return evidence({name: partial(attempt, at["pid"], at["address"]) for name, at in processes})

    return run


def environment(pid: int, _: int) -> str:
    variables = Path(f"/proc/{pid}/environ").read_bytes()
    names = re.findall(rb"([A-Z_]*(?:TOKEN|SECRET|PARAMETERS)[A-Z_]*)=", variables)
    return f"{len(variables)} bytes, with {b', '.join(names).decode() or 'no secret'}"


def memory(pid: int, address: int) -> str:
    """Opened for writing too; nothing is written."""
    with Path(f"/proc/{pid}/mem").open("r+b", buffering=0) as file:
        file.seek(address)
        return file.read(4).hex()


def memory_by_call(pid: int, address: int) -> str:
    buffer = ctypes.create_string_buffer(4)
    local, remote = Span(ctypes.addressof(buffer), 4), Span(address, 4)
    syscall(PROCESS_VM_READV, pid, ctypes.byref(local), 1, ctypes.byref(remote), 1, 0)
    return buffer.raw.hex()


def trace(pid: int, _: int) -> str:
    """Traces in a thread of its own: when it ends, the process is released."""
    errors: list[OSError] = []

    def seize() -> None:
        try:
            syscall(PTRACE, PTRACE_SEIZE, pid, 0, 0)
        except OSError as error:
            errors.append(error)

    tracer = threading.Thread(target=seize)
    tracer.start()
    tracer.join()
    if errors:
        raise errors[0]
    return "seized"


def descriptors(pid: int, _: int) -> str:
    """Those that proc(5) names, and copies of them."""
    names: list[str] = []
    refusal: OSError | None = None
    try:
        names += [str(descriptor.readlink()) for descriptor in Path(f"/proc/{pid}/fd").iterdir()]
    except OSError as error:
        refusal = error
    try:
        process = syscall(PIDFD_OPEN, pid, 0)
        try:
            os.close(syscall(PIDFD_GETFD, process, 2, 0))
            names.append("a copy of its stderr")
        finally:
            os.close(process)
    except OSError as error:
        refusal = error
    if not names and refusal:
        raise refusal
    return ", ".join(names[-MOST_DESCRIPTORS:])


def command_line(pid: int, _: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes()[:80].replace(b"\0", b" ").decode()


def signalled(pid: int, _: int) -> str:
    """SIGWINCH, which programs ignore by default: a process that may send it may send SIGKILL."""
    os.kill(pid, signal.SIGWINCH)
    return "sent"


def limited(pid: int, _: int) -> str:
    """Sets each to its present value."""
    changes, refusal = [], OSError()
    for change in (_limits, _priority, _affinity):
        try:
            change(pid)
            changes.append(change.__name__.strip("_"))
        except OSError as error:
            refusal = error
    if not changes:
        raise refusal
    return ", ".join(changes)


def _limits(pid: int) -> None:
    resource.prlimit(pid, resource.RLIMIT_CPU, resource.prlimit(pid, resource.RLIMIT_CPU))


def _priority(pid: int) -> None:
    os.setpriority(os.PRIO_PROCESS, pid, os.getpriority(os.PRIO_PROCESS, pid))


def _affinity(pid: int) -> None:
    os.sched_setaffinity(pid, os.sched_getaffinity(pid))


def all_at_once(where: dict[str, Any]) -> Evidence:
    """Signals to process groups: each process of a node leads one."""

    def attempt(pid: int) -> str:
        os.killpg(pid, signal.SIGWINCH)
        return "sent"

    return evidence({name: partial(attempt, at["pid"]) for name, at in where["processes"].items()})


def by_name(_: dict[str, Any]) -> Evidence:
    """Lists processes of others."""

    def attempt() -> str:
        folders = [
            entry for entry in Path("/proc").iterdir() if entry.name.isdecimal() and entry.name != str(os.getpid())
        ]
        if not folders:
            raise RefusedError("lists none but itself")
        return f"{len(folders)} processes"

    def by_control_group() -> str:
        lists = [*Path("/sys/fs/cgroup").glob("cgroup.procs"), *Path("/sys/fs/cgroup").glob("*/cgroup.procs")]
        pids = {line for file in lists for line in file.read_text().split()} - {str(os.getpid())}
        if not pids:
            raise RefusedError("lists none but itself")
        return f"{len(pids)} processes"

    return evidence({"`/proc`": attempt, "`/sys/fs/cgroup`": by_control_group})


TRIES = {
    "environ": of_each(environment),
    "memory": of_each(memory),
    "process-vm": of_each(memory_by_call),
    "ptrace": of_each(trace),
    "descriptors": of_each(descriptors),
    "command-lines": of_each(command_line),
    "signals": of_each(signalled),
    "group-signals": all_at_once,
    "limits": of_each(limited),
    "process-list": by_name,
}
