"""The Landlock ruleset for a process, by the kernel's ABI (https://docs.kernel.org/userspace-api/landlock.html).

Rights are those of linux/landlock.h. A handled right is refused wherever no rule grants it; an older ABI cannot handle
rights that it does not know.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = (1 << bit for bit in range(4))
REMOVE_DIR, REMOVE_FILE, MAKE_CHAR, MAKE_DIR, MAKE_REG, MAKE_SOCK, MAKE_FIFO, MAKE_BLOCK, MAKE_SYM = (
    1 << bit for bit in range(4, 13)
)
REFER, TRUNCATE, IOCTL_DEV = (1 << bit for bit in range(13, 16))
BIND_TCP, CONNECT_TCP = 1, 2
SCOPE_ABSTRACT_UNIX_SOCKET, SCOPE_SIGNAL = 1, 2

FILES_OF_ABI = {1: (1 << 13) - 1, 2: REFER, 3: TRUNCATE, 5: IOCTL_DEV}
READ = EXECUTE | READ_FILE | READ_DIR
"""Reading allows executing: the loader runs any file that it can read."""
WRITE = (
    READ | WRITE_FILE | REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REG | MAKE_SOCK | MAKE_FIFO | MAKE_SYM
    | REFER | TRUNCATE
)  # fmt: skip
OF_ONE_FILE = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
"""The rights that a rule may grant on anything but a folder."""

NET_ABI, SCOPE_ABI = 4, 6
LACKS = {
    3: "truncating files (Landlock ABI 3, Linux 6.2)",
    NET_ABI: "TCP ports (Landlock ABI 4, Linux 6.7)",
    5: "ioctl on devices (Landlock ABI 5, Linux 6.10)",
    SCOPE_ABI: "signals and abstract Unix sockets (Landlock ABI 6, Linux 6.12)",
}
"""What a kernel below that ABI cannot enforce. ABI 1 refuses what ABI 2 adds."""


@dataclass(frozen=True)
class Rules:
    """read, write: paths, with everything below them. names: folders that may be listed, with everything below them,
    but not read. ports: those that TCP connections may go to; None for all.
    """

    read: tuple[str, ...]
    write: tuple[str, ...]
    ports: tuple[int, ...] | None = None
    names: tuple[str, ...] = ()


def lacks(abi: int) -> list[str]:
    """What a kernel of this ABI, from 1, cannot enforce."""
    return [feature for since, feature in LACKS.items() if abi < since]


def ruleset(abi: int, rules: Rules) -> dict[str, object]:
    """The part of a launch plan: `handled` as struct landlock_ruleset_attr has it, `paths` and `ports` with rights."""
    files = sum(rights for since, rights in FILES_OF_ABI.items() if since <= abi)
    net = BIND_TCP | (0 if rules.ports is None else CONNECT_TCP) if abi >= NET_ABI else 0
    scoped = SCOPE_ABSTRACT_UNIX_SOCKET | SCOPE_SIGNAL if abi >= SCOPE_ABI else 0
    return {
        "handled": [files, net, scoped],
        "paths": [[path, rights & files] for path, rights in _paths(rules)],
        "of_one_file": OF_ONE_FILE,
        "ports": [[port, CONNECT_TCP] for port in rules.ports or ()] if net & CONNECT_TCP else [],
    }


def _paths(rules: Rules) -> Iterator[tuple[str, int]]:
    yield from _rules_for(rules.names, READ_DIR)
    yield from _rules_for(rules.read, READ)
    yield from _rules_for(rules.write, WRITE)


def _rules_for(paths: Iterable[str], rights: int) -> Iterator[tuple[str, int]]:
    return ((path, rights) for path in dict.fromkeys(paths))
