"""A network namespace that is joined to this machine's network by a cable, which can be pulled out."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HERE, THERE = "10.231.7.1", "10.231.7.2"
CLONE_NEWNET = 0x40000000


def skip_reason() -> str | None:
    """Why there can be no namespace; None where there can."""
    if shutil.which("ip") is None:
        return "it needs the program ip"
    if os.geteuid() != 0:
        return "it needs root"
    made = subprocess.run(["ip", "netns", "add", "gw-try"], capture_output=True, check=False)
    subprocess.run(["ip", "netns", "del", "gw-try"], capture_output=True, check=False)
    return None if made.returncode == 0 else "this machine makes no network namespace"


@dataclass(frozen=True)
class Namespace:
    """This machine is at HERE for it, and it at THERE."""

    name: str
    cable: str

    @property
    def within(self) -> list[str]:
        """Words before a command that is to run in it."""
        return ["ip", "netns", "exec", self.name]

    def enter(self) -> None:
        """The calling thread opens its sockets in it from now on."""
        with Path("/run/netns", self.name).open() as file:
            if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), f"cannot enter the network namespace {self.name}")

    def cut(self) -> None:
        """Pulls the cable out: packets are lost in both directions."""
        _ip("link", "set", self.cable, "down")

    def restore(self) -> None:
        """Plugs it in."""
        _ip("link", "set", self.cable, "up")


@contextlib.contextmanager
def namespace() -> Iterator[Namespace]:
    """Made for the block."""
    made = Namespace(f"gw-{os.getpid()}", f"gw{os.getpid()}a")
    other = f"gw{os.getpid()}b"
    _ip("netns", "add", made.name)
    try:
        _ip("link", "add", made.cable, "type", "veth", "peer", "name", other, "netns", made.name)
        _ip("address", "add", f"{HERE}/24", "dev", made.cable)
        _ip("link", "set", made.cable, "up")
        _ip("-n", made.name, "address", "add", f"{THERE}/24", "dev", other)
        _ip("-n", made.name, "link", "set", other, "up")
        _ip("-n", made.name, "link", "set", "lo", "up")
        yield made
    finally:
        _ip("netns", "del", made.name)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)
