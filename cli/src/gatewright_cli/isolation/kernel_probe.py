"""Finds what the kernel offers for isolation, by applying it to a child process."""

from __future__ import annotations

import ctypes
import os

import msgspec

from gatewright_cli.isolation import landlock, seccomp
from gatewright_cli.isolation.levels import Kernel, plan
from gatewright_cli.supervision import forked


def probe() -> Kernel:
    """Probes the kernel in a child process. Call it before there are threads."""
    return msgspec.convert(forked.in_child(_apply_and_report), Kernel)


def _apply_and_report() -> dict[str, object]:
    from gatewright_cli.supervision import sandbox

    libc, machine = ctypes.CDLL(None, use_errno=True), os.uname().machine
    abi, filters = sandbox.landlock_abi(libc), False
    try:
        if abi:
            rules = landlock.Rules(read=("/",), write=("/",))
            sandbox.apply(plan({}, privileges=False, landlock=landlock.ruleset(abi, rules)), libc)
    except OSError:
        abi = 0
    try:
        if machine in seccomp.MACHINES:
            program = seccomp.program(machine, seccomp.Sockets(), attributes=True)
            sandbox.apply(plan({}, privileges=False, seccomp=program.hex()), libc)
            filters = True
    except OSError:
        pass
    return {"abi": abi, "machine": machine, "seccomp": filters}
