"""Work in a fork of this process: what it imports and what it holds is gone with it."""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from typing import TypeVar

from gatewright_cli.supervision import prctl

FAULT_STATUS = 70
T = TypeVar("T")


def fork(work: Callable[[], int], at_our_end: signal.Signals) -> int:
    """The pid of a child that does `work` and ends with the status that it returns; with FAULT_STATUS, and a traceback
    on stderr, where it fails. It gets the signal when this process ends. Call it before there are threads.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    status = FAULT_STATUS
    try:
        prctl.end_with_parent(at_our_end)
        if os.getppid() == parent:
            status = work()
    except KeyboardInterrupt:
        status = 128 + signal.SIGINT
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def in_child(work: Callable[[], T]) -> T:
    """What `work` returned: text, numbers, None, lists and dictionaries, as JSON has them. Where it fails, its
    traceback is on stderr, and this process ends with the child's exit status. Call it before there are threads.
    """
    read_end, write_end = os.pipe()

    def tell() -> int:
        os.close(read_end)
        told = json.dumps(work()).encode()
        with os.fdopen(write_end, "wb") as pipe:
            pipe.write(told)
        return 0

    pid = fork(tell, signal.SIGTERM)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as said:
        told = said.read()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status != 0:
        sys.exit(status if status > 0 else 128 - status)
    result: T = json.loads(told)
    return result
