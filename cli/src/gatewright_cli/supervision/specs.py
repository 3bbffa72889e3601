"""The specification of a process, as plain values: all that the supervisor needs to start, watch and stop it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from gatewright_cli.supervision.handed_socket import HandedSocket
from gatewright_cli.supervision.probes import Drain, Probe
from gatewright_cli.supervision.temporary_folder import TemporaryFolder

Scheduling: TypeAlias = Literal["normal", "batch"]


@dataclass(frozen=True)
class Inherits:
    """Variables of the supervisor's own environment that a process gets: by name, and by prefix."""

    names: frozenset[str] = frozenset()
    prefixes: tuple[str, ...] = ()

    def has(self, name: str) -> bool:
        """Whether a variable of this name is inherited."""
        return name in self.names or name.startswith(self.prefixes)


@dataclass(frozen=True)
class Guest:
    """A program inside of a process: it starts and ends with it.

    name, component, sockets: as those of a process. arguments: its command line. hand_over: called with the arguments
    before each start of the process, which then reads them.
    """

    name: str
    component: str
    arguments: tuple[str, ...]
    hand_over: Callable[[tuple[str, ...]], None]
    sockets: tuple[Path, ...] = ()


@dataclass(frozen=True)
class ProcessSpec:
    """One process.

    name: unique in a node, the prefix of its log lines ("executor-0").
    component: what its own log lines call it; "" for its name. writes_access_log: whether its stdout is one.
    command: program and arguments; the program is a path or a name on PATH.
    ready: probed until it has no obstacle; only then the next process starts.
    environment: on top of what it inherits.
    inherits: which of the supervisor's own variables it gets (environment.py).
    scheduling: "batch" (SCHED_BATCH) for a process that preempts no other one when it wakes up, and whose timers may
    fire a millisecond late; else "normal".
    sockets: Unix sockets that it makes; stale ones are removed before each start and after the last stop.
    relay: where the supervisor accepts connections for its one socket, if the process cannot check its peers.
    temporary: a folder of its own, which is empty at each start and gone after the last stop.
    sandbox: the restrictions of its program (sandbox.py).
    handed: the Unix socket that the supervisor makes for it, at descriptor 3; among its sockets too.
    writes_stacks: whether its threads write their stacks to a page (stack_page.py), at descriptor 4.
    listen: where it listens, for people ("127.0.0.1:9090"); goes into status.json.
    drain: run before it gets SIGTERM.
    alive: its liveness check; None if the engine checks it. silence_seconds: how long it may neither answer nor show
    progress before it is killed and started again.
    labels: further members of its status in status.json.
    guest: the program inside of it, if any.
    go_policies: the packages of Go policies in it, each with the policy's NAME:VERSION; None: it does not run Go.
    stop_seconds: how long it may take to end after SIGTERM; then SIGKILL to its whole group.
    unshown: lines that contain one of these are not passed on.
    cure: what a person should look at if it cannot be started.
    """

    name: str
    command: tuple[str, ...]
    ready: Probe
    cwd: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    inherits: Inherits = field(default_factory=Inherits)
    scheduling: Scheduling = "normal"
    sockets: tuple[Path, ...] = ()
    relay: Path | None = None
    temporary: TemporaryFolder | None = None
    sandbox: Mapping[str, object] | None = None
    handed: HandedSocket | None = None
    writes_stacks: bool = False
    listen: str | None = None
    drain: Drain | None = None
    alive: Probe | None = None
    silence_seconds: float = 5.0
    labels: Mapping[str, object] = field(default_factory=dict)
    guest: Guest | None = None
    go_policies: Mapping[str, str] | None = None
    component: str = ""
    writes_access_log: bool = False
    unshown: tuple[bytes, ...] = ()
    stop_seconds: float = 10.0
    cure: str = ""
