"""The levels of `gatewright run --isolation`, which confine the processes that run policies.

    none        limits alone
    landlock    the same user, without privileges: files, signals and TCP ports confined by Landlock, other processes
                and sockets by a seccomp filter
    user        the same, and a user of its own for each group

Decision 28 has the reasons.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

from gatewright_cli.builds.build_output import ANY, UNIX, Access, BuildOutput, Group
from gatewright_cli.isolation import landlock, readable, seccomp
from gatewright_cli.isolation.executor_users import ExecutorUsers, IsolationError, missing_capabilities
from gatewright_cli.supervision.temporary_folder import TemporaryFolder

Level: TypeAlias = Literal["none", "landlock", "user"]
NO_LANDLOCK = "Landlock (Linux 5.13, enabled and allowed): files, signals and TCP ports"
DNS_PORT = 53
PROC = "/proc/"


@dataclass(frozen=True)
class Kernel:
    """What the kernel offers. abi: Landlock's, 0: none. machine: of uname(2). seccomp: whether it takes filters."""

    abi: int = 0
    machine: str = ""
    seccomp: bool = False

    @property
    def lacks(self) -> tuple[str, ...]:
        """What this kernel cannot enforce, by name."""
        missing = landlock.lacks(self.abi) if self.abi else [NO_LANDLOCK]
        if not self.filters:
            missing.append(f"seccomp filters ({self.machine}): other processes, Unix sockets, files' attributes")
        return tuple(missing)

    @property
    def filters(self) -> bool:
        """Whether seccomp filters can be made for this kernel and machine."""
        return self.seccomp and self.machine in seccomp.MACHINES


@dataclass(frozen=True)
class Limits:
    """Limits of each executor process (setrlimit(2)).

    open_files: descriptors. file_bytes: the size of one file. processes: processes and threads, for each executor of
    its group; enforced where a group has a user of its own, since the kernel counts by user.
    """

    open_files: int = 4096
    file_bytes: int = 1 << 30
    processes: int = 2048


@dataclass(frozen=True)
class Sandbox:
    """The sandbox of a process. plan: for supervision/sandbox.py. label: for status.json."""

    plan: Mapping[str, object]
    environment: Mapping[str, str]
    label: Mapping[str, object]


@dataclass(frozen=True)
class Isolation:
    """The isolation of a run. wanted: a level without `obstacles`."""

    wanted: Level = "none"
    kernel: Kernel = Kernel()
    limits: Limits = Limits()
    users: ExecutorUsers = field(default_factory=ExecutorUsers)

    @property
    def level(self) -> Level:
        """The level that is enforced. A seccomp filter alone is not level landlock."""
        return "none" if self.wanted == "landlock" and not self.kernel.abi else self.wanted

    @property
    def lacks(self) -> tuple[str, ...]:
        """What the kernel lacks for the wanted level, by name."""
        return () if self.wanted == "none" else self.kernel.lacks

    def user(self, group: str) -> tuple[int, int] | None:
        """uid and gid of a group's processes; None for those of the run. Raises IsolationError."""
        if self.wanted != "user":
            return None
        uid = self.users.uid(group)
        return uid, uid

    def sandbox(
        self,
        build: BuildOutput,
        group: Group,
        temporary: TemporaryFolder,
        executors: int,
        ours: Sequence[Path] = (),
        reads: Sequence[Path] = (),
    ) -> Sandbox:
        """The sandbox of a process of a group with `executors` processes. Raises IsolationError.

        ours: folders of the gateway, which no policy may ask for, nor for folders around them; nor may it write to the
        build. reads: files in them that the process reads nevertheless, if it has no user of its own.
        """
        environment, user = {"TMPDIR": str(temporary.path)}, self.user(group.name)
        limits = {"CORE": 0, "NOFILE": self.limits.open_files, "FSIZE": self.limits.file_bytes}
        label = {"level": self.level, "lacks": list(self.lacks), "access": msgspec.to_builtins(group.access)}
        if self.wanted == "none":
            return Sandbox(plan(limits), environment, label)
        _refuse_ours(group, ours, build)
        _refuse_links_out(group, build)
        environment["PYTHONDONTWRITEBYTECODE"] = "1"  # it could write them nowhere
        environment["HOME"] = str(temporary.path)
        environment["JOBLIB_MULTIPROCESSING"] = (
            "0"  # seccomp refuses semaphores, of which scikit-learn's joblib warns at each start
        )
        if user is not None:
            label["uid"] = user[0]
            limits["NPROC"] = self.limits.processes * executors
        access, kernel = _resolve_links(group.access), self.kernel
        rules = landlock.Rules(
            (*readable.readable(build, group, os.environ), *access.read, *map(str, reads)),
            (str(temporary.path), *readable.DEVICES, *access.write),
            ports(access),
            (str(build.executor),),  # Python lists it to find modules
        )
        whole = plan(
            limits,
            user=user,
            privileges=False,
            reads=[*readable.required_paths(build, group), str(temporary.path)],
            landlock=landlock.ruleset(kernel.abi, rules) if kernel.abi else None,
            named=[*access.read, *access.write],
            seccomp=seccomp.program(kernel.machine, sockets(access), attributes=user is not None).hex()
            if kernel.filters
            else None,
        )
        return Sandbox(whole, environment, label)


def sockets(access: Access) -> seccomp.Sockets:
    """The sockets that the access needs. A host given by name needs UDP, for DNS."""
    hosts = [entry for entry in access.network if entry not in (ANY, UNIX)]
    every, unix = ANY in access.network, UNIX in access.network
    return seccomp.Sockets(every or bool(hosts), every or any(map(_is_name, hosts)), unix, every)


def ports(access: Access) -> tuple[int, ...] | None:
    """The ports that TCP connections may go to; None for all."""
    if ANY in access.network:
        return None
    hosts = [entry for entry in access.network if entry != UNIX]
    numbers = {int(entry.rpartition(":")[2]) for entry in hosts}
    return tuple(sorted(numbers | ({DNS_PORT} if any(map(_is_name, hosts)) else set())))


def _is_name(entry: str) -> bool:
    host = entry.rpartition(":")[0]
    return not host.startswith("[") and not host.replace(".", "").isdecimal()


def _resolve_links(access: Access) -> Access:
    """The access with links in its paths resolved, except in those below /proc."""
    read, write = (
        [path if path.startswith(PROC) else os.path.realpath(path) for path in paths]
        for paths in (access.read, access.write)
    )
    return Access(read, write, access.network)


def _refuse_ours(group: Group, ours: Sequence[Path], build: BuildOutput) -> None:
    pairs = [(requested, folder) for requested in group.access.read for folder in ours]
    pairs += [(requested, folder) for requested in group.access.write for folder in (*ours, build.path)]
    for requested, folder in pairs:
        wanted, inner = Path(os.path.realpath(requested)), Path(os.path.realpath(folder))
        if inner.is_relative_to(wanted) or wanted.is_relative_to(inner):
            raise IsolationError(
                f"group {group.name}: expected policies that ask for no file of the gateway's own, got {requested} "
                f"under files, and {folder} is the gateway's: ask for less, or move that folder (--run-dir, "
                "--state-dir, --output, TMPDIR)"
            )


def _refuse_links_out(group: Group, build: BuildOutput) -> None:
    """Refuses paths that lead out of a folder that policies write to: one of them may have made a link there."""
    written = [Path(os.path.realpath(path)) for writer in (*build.groups, group) for path in writer.access.write]
    for requested in (*group.access.read, *group.access.write):
        *parents, real = (Path(os.path.realpath(path)) for path in (*Path(requested).parents, Path(requested)))
        for folder in written:
            if any(parent.is_relative_to(folder) for parent in parents) and not real.is_relative_to(folder):
                raise IsolationError(
                    f"group {group.name}: expected {requested} below {folder}, to which policies write, got a link to "
                    f"{real}: one of them may have made it; remove it, or ask for {real} under files"
                )


def plan(limits: Mapping[str, int], **parts: object) -> dict[str, object]:
    """The plan that supervision/sandbox.py applies; a part that is not named restricts nothing."""
    whole: dict[str, object] = {
        "limits": limits, "user": None, "privileges": True, "reads": [], "landlock": None, "named": [], "seccomp": None,
    }  # fmt: skip
    return whole | parts


def obstacles(wanted: Level) -> list[str]:
    """Why a level is not possible here, a sentence for each reason; what the kernel lacks is no obstacle."""
    if wanted == "user" and (missing := missing_capabilities()):
        return [
            "--isolation user: expected a supervisor that may run processes as other users, got one without "
            f"{', '.join(missing)}: start it as root, in a container with these capabilities, or leave --isolation out"
        ]
    return []
