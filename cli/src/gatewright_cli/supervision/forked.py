"""Work in a fork of this process: what it imports and what it holds is gone with it."""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Generic, TypeVar

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
    gc.freeze()  # so no garbage of this process is finalized in the child: a gRPC channel waits for threads for ever
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


class Forked(Generic[T]):
    """What `work` returns in a child: text, numbers, None, lists and dictionaries, as JSON has them. Make it before
    there are threads.
    """

    def __init__(self, work: Callable[[], T]) -> None:
        self._read_end, write_end = os.pipe()

        def tell() -> int:
            os.close(self._read_end)
            told = json.dumps(work()).encode()
            with os.fdopen(write_end, "wb") as pipe:
                pipe.write(told)
            return 0

        self._pid = fork(tell, signal.SIGTERM)
        os.close(write_end)

    def result(self) -> T:
        """Waits for it. Where `work` fails, its traceback is on stderr, and this process ends with the child's exit
        status.
        """
        with os.fdopen(self._read_end, "rb") as said:
            told = said.read()
        status = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        if status != 0:
            sys.exit(status if status > 0 else 128 - status)
        result: T = json.loads(told)
        return result


def in_child(work: Callable[[], T]) -> T:
    """What `work` returned in a child, as `Forked` has it."""
    return Forked(work).result()
