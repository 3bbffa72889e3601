"""A minimal ext_proc server in Go: what our engine would be if it had no chains, no policies and no state."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench import go_build
from bench.peers.envoy import envoy
from bench.peers.site import Site
from bench.processes import await_file, running
from bench.target import ENVOY, GO, Target

SOURCE = "./bench/peers/extproc/minimal"
AS_OUR_ENGINE = {"GOGC": "400"}
"""It sets this for itself, where the environment says nothing."""


@contextlib.contextmanager
def go_ext_proc(site: Site) -> Iterator[Target]:
    """Envoy asks it about request and response headers of every exchange."""
    binary, log = go_build.build(SOURCE, site.folder / "minimal"), site.folder / "server.log"
    with tempfile.TemporaryDirectory(prefix="gatewright-bench-") as home:  # a socket's path must be short
        socket = Path(home) / "ext_proc.sock"
        with running([str(binary), "-listen", str(socket)], log, **AS_OUR_ENGINE) as server:
            await_file(socket, server, log)
            with envoy(site, socket) as (port, pid):
                yield Target(port, lambda: {ENVOY: (pid,), GO: (server.pid,)}, log)
