"""What a node of a test listens on: ports that are free, and Gateways as files."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import random
import socket
import tempfile
from pathlib import Path

import yaml

from e2e.kit.gateway import Json


def free_port(host: str = "127.0.0.1") -> int:
    """A port below those of outgoing connections (32768 and above), and below those that runs choose by themselves
    (20000 and above), so that neither a client nor the controller of another test takes it; and one that no other test
    has been given, for a gateway needs seconds until it listens."""
    for port in random.sample(range(10_000, 20_000), 1000):
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe, contextlib.suppress(OSError):
            probe.bind((host, port))
            if _claim(port):
                return port
    raise RuntimeError("expected a free port from 10000 to 19999, got none in 1000 tries")


def _claim(port: int) -> bool:
    """Whether no process of tests on this machine has the port; this one has it from now on, until it ends."""
    if port in _claimed:
        return False
    try:
        fcntl.lockf(_locks(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    _claimed.add(port)
    return True


_claimed: set[int] = set()
"""By this process, whose own locks do not exclude it."""


@functools.cache
def _locks() -> int:
    """A file of which each process of tests locks a byte for each of its ports, those of the engine's tests too."""
    path = Path(tempfile.gettempdir()) / "gatewright-test-ports"
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def accepts(path: Path) -> bool:
    """Whether a server takes connections at this Unix socket. httpcore does not close one that is refused, and what is
    not closed is an error of whichever test runs when it is collected."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def write(file: Path, *listeners: Json, **spec: object) -> Path:
    document = {"apiVersion": "gatewright.dev/v1", "kind": "Gateway", "spec": {"listeners": list(listeners), **spec}}
    file.write_text(yaml.safe_dump(document))
    return file
