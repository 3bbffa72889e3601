"""Work in a fork of this process: what it imports and what it holds is gone with it."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn

from gatewright_cli.preflight import PreflightError

PR_SET_PDEATHSIG = 1
FAULT_STATUS = 70


def in_child(work: Callable[[], str]) -> str:
    """What `work` returned. Raises the PreflightError that it raised; any other failure, which the child has written to
    stderr, ends this process with the child's exit status. Call it before there are threads.
    """
    read_end, write_end = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        os.close(read_end)
        _run(work, write_end, parent)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as said:
        told = said.read()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status != 0:
        sys.exit(status if status > 0 else 128 - status)
    result, mistakes = json.loads(told)
    if mistakes:
        raise PreflightError(mistakes)
    return str(result)


def _run(work: Callable[[], str], write_end: int, parent: int) -> NoReturn:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    status = FAULT_STATUS
    try:
        if os.getppid() == parent:
            told = json.dumps(_outcome(work)).encode()
            with os.fdopen(write_end, "wb") as pipe:
                pipe.write(told)
            status = 0
    except KeyboardInterrupt:
        status = 128 + signal.SIGINT
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _outcome(work: Callable[[], str]) -> tuple[str, list[str]]:
    """What it returned, and its mistakes."""
    try:
        return work(), []
    except PreflightError as error:
        return "", error.mistakes
