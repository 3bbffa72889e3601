"""What outlives the policy or passes for another process: children, inherited descriptors, log lines."""

import json
import os
import signal
import stat
from pathlib import Path
from typing import Any

from .evidence import Evidence, RefusedError, evidence

CANARY = "written by the hostile policy"
HIGHEST = 4096


def child(_: dict[str, Any]) -> Evidence:
    """A grandchild in a session of its own, which no process waits for. The proof is its pid."""

    def attempt() -> str:
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.setsid()
            if os.fork():
                os._exit(0)
            os.write(writer, str(os.getpid()).encode())
            os.closerange(0, HIGHEST)
            signal.pause()
            os._exit(0)
        os.waitpid(pid, 0)
        os.close(writer)
        with os.fdopen(reader) as file:
            return file.read()

    return evidence({"": attempt})


STACK_PAGE = "/memfd:stacks (deleted)"
"""Memory of the process's own, of fixed size, in which its interpreter writes where a thread is."""


def inherited(_: dict[str, Any]) -> Evidence:
    """Files and folders that are open here, and that it could not open by their names."""

    def attempt() -> str:
        descriptors = []
        for number in range(HIGHEST):
            try:
                status = os.fstat(number)
            except OSError:
                continue
            name = _name(number)
            is_file = stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)
            if is_file and name != STACK_PAGE and not _opens(name):
                descriptors.append(f"{number}: {name}")
        if not descriptors:
            raise RefusedError("none that it could not open itself")
        return ", ".join(descriptors)

    return evidence({"": attempt})


def _name(number: int) -> str:
    try:
        return str(Path(f"/proc/self/fd/{number}").readlink())
    except OSError as error:
        return str(error)


def _opens(path: str) -> bool:
    try:
        os.close(os.open(path, os.O_RDONLY))
    except OSError:
        return False
    return True


def forged(_: dict[str, Any]) -> Evidence:
    """Lines in the form of all log lines, and of the access log; whether they pass for others', the suite sees."""
    for component, output in (("policy-engine", 2), ("supervisor", 1), ("access", 1), ("access", 2)):
        record = {"time": "2001-01-01T00:00:00.000Z", "level": "error", "component": component, "message": CANARY}
        os.write(output, json.dumps(record, separators=(",", ":")).encode() + b"\n")
    return evidence({"": lambda: CANARY})


TRIES = {"child": child, "inherited-descriptors": inherited, "forged-logs": forged}
