"""Which process has connected to a Unix socket, and whether it may. The engine's internal/peers does the same in Go.

All processes of a node run as one user, those that run policies too: the mode of a socket does not distinguish them.
The kernel's record of the connected process does (unix(7), SO_PEERCRED).
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import select
import socket
import struct
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import msgspec

SUPERVISOR = "supervisor"
ENGINE = "engine"
SO_PEERPIDFD = 77  # Linux 6.5
UCRED = struct.Struct("3i")  # pid, uid, gid
PATIENCE_SECONDS = 1.0
PAUSE_SECONDS = 0.02
QUIET_SECONDS = 1.0
MOST_WAITING = 64
PROC = Path("/proc")


class Connected(Protocol):
    """A connected socket, or asyncio's stand-in for it."""

    def getsockopt(self, level: int, optname: int, buflen: int = ..., /) -> int | bytes: ...


class Rule(msgspec.Struct, frozen=True):
    """Processes that may connect: those with these roles, and those of the same user or of root that the supervisor has
    not started, directly or not. A policy's processes are below the supervisor, which adopts orphans.

    pids: role → pid of a process of the node, as they are now; may raise OSError, ValueError. A second process of a
    role, which takes the place of the first, has a number: "engine.2".
    """

    pids: Callable[[], Mapping[str, int]]
    roles: tuple[str, ...]

    def refusal(self, connection: Connected) -> str | None:
        """Why the process that has connected may not have done so; None where it may."""
        pid, uid = peer(connection)
        try:
            known = self.pids()
            if pid == 0 or pid not in {known[name] for name in known if name.partition(".")[0] in self.roles}:
                if uid not in (os.getuid(), 0):
                    return f"expected a process of user {os.getuid()}, got one of user {uid}"
                if is_below(pid, known[SUPERVISOR]):
                    return f"expected one of {', '.join(self.roles)}, or a process that the supervisor has not started"
        except (OSError, ValueError, KeyError) as error:
            return repr(error)
        return None if _is_alive(connection) else "the process has ended"


def in_file(path: Path) -> Callable[[], Mapping[str, int]]:
    """Pids by role as the supervisor writes them down: {"engine": 7}."""

    def read() -> Mapping[str, int]:
        found: Mapping[str, int] = json.loads(path.read_bytes())
        return found

    return read


def peer(connection: Connected) -> tuple[int, int]:
    """Pid and user of the process that has connected; a pid of 0 is out of sight, in another pid namespace."""
    found = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, UCRED.size)
    assert isinstance(found, bytes)
    pid, uid, _ = UCRED.unpack(found)
    return pid, uid


def is_below(pid: int, ancestor: int, proc: Path = PROC) -> bool:
    """Whether a process was started by another one, directly or not, or is it. Raises OSError where one has ended.

    proc: where proc(5) is mounted.
    """
    while pid > 1 and pid != ancestor:
        pid = _parent(pid, proc)
    return pid == ancestor


def _parent(pid: int, proc: Path) -> int:
    try:
        stat = (proc / str(pid) / "stat").read_bytes()
    except FileNotFoundError:
        if _exists(pid):
            raise OSError(
                f"expected to see who has started it, got a /proc that hides process {pid}: mount it without hidepid, "
                "or with gid= for a group of this user (systemd: ProtectProc=default)"
            ) from None
        raise
    return int(stat.rpartition(b")")[2].split()[1])


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _is_alive(connection: Connected) -> bool:
    """Where it has ended, its pid may be another one's by now. A kernel before Linux 6.5 cannot say."""
    try:
        pidfd = connection.getsockopt(socket.SOL_SOCKET, SO_PEERPIDFD)
    except OSError as error:
        return error.errno == errno.ENOPROTOOPT
    assert isinstance(pidfd, int)
    try:
        ended = select.poll()
        ended.register(pidfd, select.POLLIN)
        return not ended.poll(0)
    finally:
        os.close(pidfd)


class PeerCheck(msgspec.Struct):
    """A rule at a socket. `warn` gets the socket, the pid and the reason of a refusal; of several within a second,
    those of the first."""

    rule: Rule
    at: Path
    warn: Callable[[str, int, str], None]
    _waiting: int = 0
    _warned: float = msgspec.field(default=-QUIET_SECONDS)

    async def admits(self, connection: Connected) -> bool:
        """Asks again for a second, for a process may be newer than what is written of it."""
        end = time.monotonic() + PATIENCE_SECONDS
        while (why := self.rule.refusal(connection)) is not None:
            if time.monotonic() > end or self._waiting >= MOST_WAITING:
                self._refuse(connection, why)
                return False
            self._waiting += 1
            try:
                await asyncio.sleep(PAUSE_SECONDS)
            finally:
                self._waiting -= 1
        return True

    def _refuse(self, connection: Connected, why: str) -> None:
        now = time.monotonic()
        if now - self._warned >= QUIET_SECONDS:
            self._warned = now
            self.warn(str(self.at), peer(connection)[0], why)
