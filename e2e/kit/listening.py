"""What a node of a test listens on: ports that are free, and Gateways as files."""

from __future__ import annotations

import contextlib
import random
import socket
from pathlib import Path

import yaml

from e2e.kit.gateway import Json


def free_port(host: str = "127.0.0.1") -> int:
    """A port below those of outgoing connections (32768 and above), so that no client of another test takes it."""
    for port in random.sample(range(20_000, 32_768), 100):
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe, contextlib.suppress(OSError):
            probe.bind((host, port))
            return port
    raise RuntimeError("expected a free port from 20000 to 32767, got none in 100 tries")


def accepts(path: Path) -> bool:
    """Whether a server takes connections at this Unix socket. httpcore does not close one that is refused, and what is
    not closed is an error of whichever test runs when it is collected."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def write(file: Path, *listeners: Json, **spec: object) -> Path:
    document = {"apiVersion": "gatewright.dev/v1", "kind": "Gateway", "spec": {"listeners": list(listeners), **spec}}
    file.write_text(yaml.safe_dump(document))
    return file
