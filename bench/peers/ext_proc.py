"""ext_proc servers behind Envoy: what our engine would be if it had no chains, no policies and no state."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench import go_build
from bench.peers import environment
from bench.peers.envoy import envoy
from bench.peers.site import PROGRAMS, Site
from bench.processes import await_file, running
from bench.target import ENVOY, GO, PYTHON, Target

MINIMAL = "./bench/peers/extproc/minimal"
REQUIREMENTS = "ext-proc"
AS_OUR_ENGINE = {"GOGC": "400"}
"""It sets this for itself, where the environment says nothing."""


@contextlib.contextmanager
def go_ext_proc(site: Site) -> Iterator[Target]:
    """The least that one in Go can be."""
    binary = go_build.build(MINIMAL, site.folder / "minimal")
    with _behind_envoy(site, GO, [str(binary), "-listen"], **AS_OUR_ENGINE) as target:
        yield target


@contextlib.contextmanager
def aio_ext_proc(site: Site) -> Iterator[Target]:
    """In Python, by grpc.aio."""
    with _behind_envoy(site, PYTHON, _python("aio_ext_proc.py")) as target:
        yield target


@contextlib.contextmanager
def sync_ext_proc(site: Site) -> Iterator[Target]:
    """In Python, by threads."""
    with _behind_envoy(site, PYTHON, _python("sync_ext_proc.py")) as target:
        yield target


def _python(file: str) -> list[str]:
    return [str(environment.python(REQUIREMENTS)), str(PROGRAMS / file)]


@contextlib.contextmanager
def _behind_envoy(site: Site, column: str, command: Sequence[str], **variables: str) -> Iterator[Target]:
    """The command gets its socket as its last argument. Envoy asks it about request and response headers."""
    log = site.folder / "server.log"
    with tempfile.TemporaryDirectory(prefix="gatewright-bench-") as home:  # a socket's path must be short
        socket = Path(home) / "ext_proc.sock"
        with running([*command, str(socket)], log, **variables) as server:
            await_file(socket, server, log)
            with envoy(site, socket) as (port, pid):
                yield Target(port, lambda: {ENVOY: (pid,), column: (server.pid,)}, log)
