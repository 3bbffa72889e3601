"""The limits that protect a node from its clients: memory, divided among its processes, time and connections."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

CGROUPS = Path("/proc/self/cgroup")
MOUNT = Path("/sys/fs/cgroup")
MIB = 2**20
SHARES = 3
"""Engine and Envoy may each use one share of memory; the rest is for controller, executors and supervisor."""
LEAST_HEAP = 128 * MIB
BODIES = 128 * MIB
BODY_SHARES = 8
REQUEST_SECONDS = 60.0
HEADER_SECONDS = 10.0
CONNECTIONS = 50_000
FILES_EACH = 2
"""A client's connection may need another one to an upstream."""


@dataclass(frozen=True)
class Edge:
    """memory: bytes for all processes. bodies: bytes of bodies that the engine may hold. request_seconds: how long the
    gateway waits for a body that a policy wants whole, and at most for headers; 0: any time. connections: of clients,
    at once.
    """

    memory: int
    bodies: int
    request_seconds: float = REQUEST_SECONDS
    connections: int = CONNECTIONS

    @property
    def engine(self) -> int:
        """Bytes above which the engine collects garbage more often."""
        return self.memory // SHARES

    @property
    def heap(self) -> int:
        """Bytes that Envoy's heap may take."""
        return max(self.memory // SHARES, LEAST_HEAP)

    @property
    def header_seconds(self) -> float:
        """How long a request's headers may take to arrive; always limited."""
        return min(HEADER_SECONDS, self.request_seconds) or HEADER_SECONDS

    def mistakes(self) -> Iterator[str]:
        """A sentence for each conflict of options."""
        if self.bodies < 1:
            yield "--body-memory: expected at least 1 byte"
        elif self.bodies > self.engine:
            yield (
                f"--body-memory: expected at most a third of what the node may take, {self.engine / MIB:.0f}MiB of"
                f" {self.memory / MIB:.0f}MiB, got {self.bodies / MIB:.0f}MiB: lower it, or raise --memory"
            )


def edge(
    memory: float | None = None,
    bodies: float | None = None,
    request_seconds: float = REQUEST_SECONDS,
    connections: int | None = None,
) -> Edge:
    """The limits; a value that is None is derived from the memory of this machine or container."""
    whole = available() if memory is None else int(memory)
    held = min(BODIES, whole // BODY_SHARES) if bodies is None else int(bodies)
    return Edge(whole, held, request_seconds, connections or min(CONNECTIONS, most_files() // FILES_EACH))


def available(cgroups: Path = CGROUPS, mount: Path = MOUNT) -> int:
    """Bytes of memory: the least limit of this process's control groups and those above, or the machine's memory."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([machine, *_limits(cgroups, mount)])


def _limits(cgroups: Path, mount: Path) -> Iterator[int]:
    try:
        lines = cgroups.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        number, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):  # cgroups(7), version 1
            yield from _upwards(mount / "memory", path, "memory.limit_in_bytes")
        elif number == "0" and not controllers:
            yield from _upwards(mount, path, "memory.max")


def _upwards(mount: Path, path: str, file: str) -> Iterator[int]:
    """The limits of a group and of those above it. In a container with the host's path, only the root exists."""
    parts = [part for part in path.split("/") if part not in ("", "..")]
    for depth in range(len(parts), -1, -1):
        try:
            text = mount.joinpath(*parts[:depth], file).read_text().strip()
        except OSError:
            continue
        if text.isdecimal():
            yield int(text)


def most_files() -> int:
    """How many files a process may open."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return CONNECTIONS * FILES_EACH if hard == resource.RLIM_INFINITY else hard
