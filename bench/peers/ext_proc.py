"""ext_proc servers behind Envoy, for comparison with the engine: they have no chains, no policies and no state."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from bench import environment, go_build
from bench.peers.envoy import envoy
from bench.peers.site import PROGRAMS, Site
from bench.processes import await_file, running
from bench.target import ENVOY, GO, PYTHON, Target

MINIMAL, NAIVE = "./bench/peers/extproc/minimal", "./bench/peers/extproc/naive"
REQUIREMENTS = "ext-proc"
GC_OF_ENGINE = {"GOGC": "400"}
"""The engine sets it for itself, unless the environment does."""


@contextlib.contextmanager
def go_ext_proc(site: Site) -> Iterator[Target]:
    """The smallest ext_proc server in Go."""
    binary = go_build.build(MINIMAL, site.folder / "minimal")
    with _behind_envoy(site, GO, [str(binary), "-listen"], **GC_OF_ENGINE) as target:
        yield target


@contextlib.contextmanager
def aio_ext_proc(site: Site) -> Iterator[Target]:
    """An ext_proc server in Python with grpc.aio."""
    with _behind_envoy(site, PYTHON, _python("aio_ext_proc.py")) as target:
        yield target


@contextlib.contextmanager
def sync_ext_proc(site: Site) -> Iterator[Target]:
    """An ext_proc server in Python with threads."""
    with _behind_envoy(site, PYTHON, _python("sync_ext_proc.py")) as target:
        yield target


@contextlib.contextmanager
def naive(site: Site) -> Iterator[Target]:
    """An engine and an executor that exchange one self-describing message for each execution."""
    binary, log = go_build.build(NAIVE, site.folder / "naive"), site.folder / "executor.log"
    with tempfile.TemporaryDirectory(prefix="gatewright-bench-") as home:
        socket = Path(home) / "executor.sock"
        with running([sys.executable, "-m", "bench.naive.executor", "--listen", f"unix:{socket}"], log) as executor:
            await_file(socket, executor, log)
            engine = [str(binary), "-executor", f"unix:{socket}", "-listen"]
            with _behind_envoy(site, GO, engine, **GC_OF_ENGINE) as target:
                yield replace(target, processes=lambda: {**target.processes(), PYTHON: (executor.pid,)})


def _python(file: str) -> list[str]:
    return [str(environment.python(REQUIREMENTS)), str(PROGRAMS / file)]


@contextlib.contextmanager
def _behind_envoy(site: Site, column: str, command: Sequence[str], **variables: str) -> Iterator[Target]:
    """Runs a server, whose socket is its last argument, and an Envoy that sends it request and response headers."""
    log = site.folder / "server.log"
    with tempfile.TemporaryDirectory(prefix="gatewright-bench-") as home:  # a socket's path must be short
        socket = Path(home) / "ext_proc.sock"
        with running([*command, str(socket)], log, variables) as server:
            await_file(socket, server, log)
            with envoy(site, socket) as (port, pid):
                yield Target(port, lambda: {ENVOY: (pid,), column: (server.pid,)}, log)
