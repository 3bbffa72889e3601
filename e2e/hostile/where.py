"""The places of everything in a node, as the hostile policy is given them: it does not fail for lack of knowledge."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from e2e.hostile.node import CANARY, SECRETS, NodeFolders
from e2e.kit.gateway import Gateway, Json

OWN_GROUP, OTHER_GROUP = "strangers", "default"
OTHER = "another group's executor"
SEGMENT, QUEUE = ("-m", "-M", "4096"), ("-q", "-Q")
SOMEWHERE = 0x400000


@dataclass(frozen=True)
class OtherPrograms:
    """Other programs of the operator's on the machine: servers at a path, without one, at a port; shared memory."""

    unix: str
    abstract: str
    port: int
    segment: int
    queue: int
    memory: str


@contextmanager
def other_programs(folders: NodeFolders) -> Iterator[OtherPrograms]:
    name, path = folders.other.name, folders.other / "agent.sock"
    memory = Path(f"/dev/shm/{name}")  # noqa: S108
    with ExitStack() as stack:
        abstract, named = (stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(2))
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        abstract.bind(f"\0{name}")
        named.bind(str(path))
        path.chmod(0o600)
        memory.touch(0o600)
        memory.write_text(CANARY)
        stack.callback(memory.unlink)
        for folder in (path, memory):
            os.chown(folder, folders.owner, folders.owner)
        for listener in (abstract, named, server):
            listener.listen(4)
            stack.callback(listener.shutdown, socket.SHUT_RDWR)  # wakes its thread, which would keep it open
            threading.Thread(target=_serve, args=(listener,), daemon=True).start()
        segment, queue = (stack.enter_context(_kept(folders.owner, *which)) for which in (SEGMENT, QUEUE))
        yield OtherPrograms(str(path), name, server.getsockname()[1], segment, queue, str(memory))


def _serve(listener: socket.socket) -> None:
    while True:
        try:
            client, _ = listener.accept()
            with client:
                client.sendall(b"hello")
                client.shutdown(socket.SHUT_WR)
                client.recv(64)  # a close with something unread resets the connection: the answer may not arrive
        except OSError:
            return


@contextmanager
def _kept(owner: int, remove: str, *make: str) -> Iterator[int]:
    """The number of a System V object of this user's, 0600."""
    as_owner = ["setpriv", f"--reuid={owner}", f"--regid={owner}", "--clear-groups"] if os.geteuid() != owner else []
    result = subprocess.run([*as_owner, "ipcmk", *make, "-p", "0600"], capture_output=True, text=True, check=True)
    number = result.stdout.split()[-1]
    try:
        yield int(number)
    finally:
        subprocess.run(["ipcrm", remove, number], check=True)


def where(gateway: Gateway, folders: NodeFolders, others: OtherPrograms) -> Json:
    """All places that the tries of e2e/kit/policies/hostile need."""
    own, other = executor(gateway, OWN_GROUP), executor(gateway, OTHER_GROUP)
    pids = {"supervisor": gateway.process.pid, **_pids(gateway), OTHER: other}
    code = Path(f"/proc/{own}/cwd").readlink()
    write = _write(gateway, folders, code, _environment(own), _environment(other))
    return {
        "secrets": SECRETS,
        "processes": {name: {"pid": pid, "address": _mapped(pid)} for name, pid in pids.items()},
        "read": _read(gateway, folders),
        "code": {"": str(code / "policies" / "key_check_v1_0_0" / "policy.py")},
        "write": {**write, "elsewhere in /tmp": "/tmp/"},  # noqa: S108
        "change": write,
        "setuid": str(_with_setuid(_environment(own))),
        "sockets": dict(_sockets(gateway.run_dir)),
        "token": str(gateway.run_dir / "management-token"),
        "unix": others.unix,
        "abstract": others.abstract,
        "shared-memory": others.segment,
        "messages": others.queue,
        "posix-memory": others.memory,
        "ports": {
            "gateway": gateway.port,
            "management": int(gateway.process_status("controller")["listen"].rsplit(":", 1)[1]),
            "elsewhere": others.port,
        },
    }


def _read(gateway: Gateway, folders: NodeFolders) -> Mapping[str, str]:
    (last_good,) = folders.state.rglob("last-good")
    return {
        "the last good state": str(_a_file(last_good)),
        "the controller's database": str(folders.state / "controller.db"),
        "the run directory's files": f"{gateway.run_dir}/status.json",
        "a key in the operator's home": str(folders.home / ".ssh" / "id_ed25519"),
        "another program's file in /tmp": str(folders.other / "note"),
    }


def _write(gateway: Gateway, folders: NodeFolders, code: Path, own: Path, other: Path) -> Mapping[str, str]:
    return {
        "its own code": f"{code}/policies/hostile_v1_0_0/",
        "its own environment": f"{own}/",
        "another group's code": f"{code}/policies/key_check_v1_0_0/",
        "another group's environment": f"{other}/",
        "the engine's program": f"{code.parent}/bin/",
        "the build output": f"{folders.build}/",
        "the state": f"{folders.state}/",
        "the run directory": f"{gateway.run_dir}/",
        "the operator's home": f"{folders.home}/",
        "another program's folder in /tmp": f"{folders.other}/",
    }


def _sockets(run_dir: Path) -> Iterator[tuple[str, Json]]:
    """The sockets of the node, those of the other executor included, without the policy's own."""
    for path in sorted(run_dir.rglob("*.sock")):
        name = path.relative_to(run_dir).as_posix().removesuffix(".sock")
        if OWN_GROUP in name:
            continue
        if "executor" in name:
            name = OTHER
        kind = "command" if name == "control" else "http" if "admin" in name else "http2"
        yield name, {"path": str(path), "speaks": kind}


def _with_setuid(environment: Path) -> Path:
    """A program with root's set-user-id bit at a place where a policy may execute files."""
    program = environment / "bin" / "id"
    if not program.exists() and os.geteuid() == 0:
        shutil.copy("/usr/bin/id", program)
        program.chmod(0o4755)
    return program


def _environment(pid: int) -> Path:
    """The environment that a process of Python runs in."""
    return Path(Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode()).parents[1]


def _a_file(path: Path) -> Path:
    return next(file for file in sorted(path.rglob("*")) if file.is_file()) if path.is_dir() else path


def executor(gateway: Gateway, group: str) -> int:
    """The pid of the process that serves the group."""
    (process_of_group,) = [process for process in gateway.executors() if process["group"] == group]
    return int(process_of_group["pid"])


def _pids(gateway: Gateway) -> dict[str, int]:
    names = {"controller": "controller", "engine": "engine", "envoy": "Envoy"}
    pids = {purpose: gateway.pid(name) for name, purpose in names.items()}
    return {purpose: pid for purpose, pid in pids.items() if pid}


def _mapped(pid: int) -> int:
    """An address of the process that it can read itself (proc(5), /proc/PID/maps)."""
    try:
        with Path(f"/proc/{pid}/maps").open() as lines:
            return int(next(line for line in lines if " r" in line).split("-")[0], 16)
    except (OSError, StopIteration):
        return SOMEWHERE
