"""Policies written inline, served by a real server on a real socket, asked by a small engine."""

from __future__ import annotations

import itertools
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from gatewright_executor.policies import policy_loader
from gatewright_executor.policies.policy_loader import LoadedPolicy
from gatewright_executor.server import Server
from gatewright_executor.testing import Engine

FOLDERS = itertools.count()


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, LoadedPolicy]]:
    """load(name=source, …) → the policies "name:v1.0.0", imported from files in a folder of their own."""

    def load(**sources: str) -> dict[str, LoadedPolicy]:
        folder = f"policies_{next(FOLDERS)}"
        (tmp_path / folder).mkdir()
        for name, source in sources.items():
            (tmp_path / folder / f"{name}.py").write_text(textwrap.dedent(source))
        monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
        return policy_loader.load_all({f"{name}:v1.0.0": f"{folder}.{name}" for name in sources})

    return load


@pytest.fixture
def serve(load: Callable[..., dict[str, LoadedPolicy]], tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """serve(name=source, …) → the socket of a running executor; `workers=N` is how many it has (4)."""
    servers: list[Server] = []

    def serve(workers: int = 4, **sources: str) -> Path:
        server = Server(load(**sources), workers)
        socket = tmp_path / f"{len(servers)}.sock"
        server.start(socket)
        servers.append(server)
        return socket

    yield serve
    for server in servers:
        server.stop(0)


@pytest.fixture
def engine(serve: Callable[..., Path]) -> Iterator[Callable[..., Engine]]:
    """engine(name=source, …) → an engine with a stream to an executor of its own."""
    engines: list[Engine] = []

    def engine(workers: int = 4, **sources: str) -> Engine:
        engines.append(Engine(serve(workers, **sources)))
        return engines[-1]

    yield engine
    for one in engines:
        one.__exit__(None, None, None)
