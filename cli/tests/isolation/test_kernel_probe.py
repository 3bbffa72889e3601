from __future__ import annotations

import ctypes
import os

from gatewright_cli.isolation.kernel_probe import probe
from gatewright_cli.isolation.seccomp import MACHINES
from gatewright_cli.supervision import sandbox


def test_the_probe_describes_this_kernel_and_does_not_change_this_process() -> None:
    before = os.sched_getaffinity(0), no_new_privileges()
    found = probe()
    assert found.machine == os.uname().machine
    assert found.abi in (0, sandbox.landlock_abi(ctypes.CDLL(None, use_errno=True)))
    assert found.filters == (found.seccomp and found.machine in MACHINES)
    assert (os.sched_getaffinity(0), no_new_privileges()) == before


def no_new_privileges() -> int:
    return int(ctypes.CDLL(None).prctl(39, 0, 0, 0, 0))  # PR_GET_NO_NEW_PRIVS
