"""The network of a cluster: a namespace with a bridge, and one for each pod, joined to it by a cable."""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

PREFIX = "10.231"
SIZE = 16
HOST = f"{PREFIX}.0.1"
"""The bridge: the API server, and whatever the tests start in the cluster's namespace."""
BRIDGE = "pods"
CLONE_NEWNET = 0x40000000


def refusal() -> str | None:
    """Why there can be no cluster on this machine; None where there can."""
    missing = [name for name in ("ip", "unshare", "nsenter", "setpriv") if shutil.which(name) is None]
    if missing:
        return f"it needs the program {missing[0]}"
    if os.geteuid() != 0:
        return "it needs root"
    command = ["unshare", "--net", "--mount", "--pid", "--fork", "ip", "link", "add", BRIDGE, "type", "bridge"]
    made = subprocess.run(command, check=False, capture_output=True, text=True)
    return None if made.returncode == 0 else f"this machine makes no namespaces or no bridge: {made.stderr.strip()}"


class Namespace:
    """A network namespace, held by a process that ends when this one does."""

    def __init__(self) -> None:
        command = ["unshare", "--net", "sh", "-c", "ip link set lo up && echo && exec cat"]
        self._holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._holder.stdout
        assert self._holder.stdout.readline() == b"\n", "expected a network namespace, got none"

    @property
    def pid(self) -> int:
        return self._holder.pid

    @property
    def path(self) -> Path:
        return Path(f"/proc/{self.pid}/ns/net")

    @property
    def within(self) -> list[str]:
        """Words before a command that is to run in it."""
        return ["nsenter", f"--net={self.path}", "--"]

    def enter(self) -> None:
        """The calling thread opens its sockets in it from now on, and what it starts does too."""
        _enter(self.path)

    def close(self) -> None:
        self._holder.communicate()


@dataclass
class Network:
    """The cluster's namespace, in which the calling thread is meanwhile, and addresses for pods."""

    _addresses: Iterator[str] = field(default_factory=lambda: _all_addresses())

    def join(self, namespace: Namespace) -> str:
        """Joins a pod's namespace to the bridge; returns its address. None is given twice."""
        address = next(self._addresses)
        high, low = address.split(".")[2:]
        cable = f"pod-{high}-{low}"
        ip("link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", str(namespace.pid))
        ip("link", "set", cable, "master", BRIDGE, "up")
        inside = ["ip", "-batch", "-"]
        lines = f"address add {address}/{SIZE} dev eth0\nlink set eth0 up\n"
        subprocess.run([*namespace.within, *inside], input=lines.encode(), check=True, capture_output=True)
        return address


@contextlib.contextmanager
def network() -> Iterator[Network]:
    """Made for the block, in which the calling thread, its threads and processes know no other network."""
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    namespace = Namespace()
    try:
        namespace.enter()
        ip("link", "add", BRIDGE, "type", "bridge")
        ip("address", "add", f"{HOST}/{SIZE}", "dev", BRIDGE)
        ip("link", "set", BRIDGE, "up")
        yield Network()
    finally:
        _enter(Path(f"/proc/self/fd/{before}"))
        os.close(before)
        namespace.close()


def _all_addresses() -> Iterator[str]:
    for high, low in itertools.product(range(1, 255), range(1, 255)):
        yield f"{PREFIX}.{high}.{low}"


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


def _enter(path: Path) -> None:
    with path.open() as file:
        if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"cannot enter the network namespace {path}")
