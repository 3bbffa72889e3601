"""A user for the processes of each group of policies."""

from __future__ import annotations

import contextlib
import pwd
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

FIRST, LAST = 61184, 65519
"""systemd's range for users that services have while they run (https://systemd.io/UIDS-GIDS), for no other use."""
NEEDED = {"CAP_CHOWN": 0, "CAP_DAC_OVERRIDE": 1, "CAP_KILL": 5, "CAP_SETGID": 6, "CAP_SETUID": 7, "CAP_SETPCAP": 8}
"""To become another user, to make and remove its folder, and to stop its processes (linux/capability.h)."""


class IsolationError(Exception):
    """Policies cannot be isolated at the wanted level. The message says why, and the cure."""


@dataclass
class ExecutorUsers:
    """A uid, and a gid of the same number, for each group of a run; the same in each run, unless it is taken."""

    first: int = FIRST
    last: int = LAST
    _by_group: dict[str, int] = field(default_factory=dict)

    def uid(self, group: str) -> int:
        """The group's uid. Raises IsolationError if the range has no free one."""
        if group not in self._by_group:
            taken = {*self._by_group.values(), *_users_of_processes()}
            self._by_group[group] = next((uid for uid in self._candidates(group) if _is_free(uid, taken)), -1)
        if self._by_group[group] < 0:
            del self._by_group[group]
            raise IsolationError(
                f"no user is left between {self.first} and {self.last} for the group {group}: "
                "give a larger range with --executor-uids"
            )
        return self._by_group[group]

    def _candidates(self, group: str) -> Iterator[int]:
        count = self.last - self.first + 1
        begin = zlib.crc32(group.encode()) % count
        return (self.first + (begin + step) % count for step in range(count))


def missing_capabilities() -> list[str]:
    """The capabilities that this process lacks to run others as other users."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapEff:"))
    effective = int(line.split()[1], 16)
    return [name for name, number in NEEDED.items() if not effective >> number & 1]


def _is_free(uid: int, taken: set[int]) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return uid not in taken
    return False


def _users_of_processes() -> Iterator[int]:
    """The users of all processes, another run's executors among them."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended
            yield process.stat().st_uid
