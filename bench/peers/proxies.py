"""Reverse proxies in one Python process, whose program does the work of a policy."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench import cpu, environment
from bench.peers.site import PROGRAMS, Site
from bench.processes import HOST, await_answer, free_port, running
from bench.target import PYTHON, Target


@contextlib.contextmanager
def aiohttp_proxy(site: Site) -> Iterator[Target]:
    with _program(site, "aiohttp", "aiohttp_proxy.py") as target:
        yield target


@contextlib.contextmanager
def fastapi_proxy(site: Site) -> Iterator[Target]:
    with _program(site, "fastapi", "fastapi_proxy.py") as target:
        yield target


@contextlib.contextmanager
def pyvoy(site: Site) -> Iterator[Target]:
    """Python, and an Envoy with an embedded Python; the column of Python has the CPU time of both."""
    with _program(site, "pyvoy", "pyvoy_app.py") as target:
        yield target


@contextlib.contextmanager
def mitmproxy(site: Site) -> Iterator[Target]:
    """mitmdump without output."""
    port, binary = free_port(), environment.python("mitmproxy").with_name("mitmdump")
    options = ["--quiet", "--set", "flow_detail=0", "--set", f"confdir={site.folder / 'certificates'}"]
    where = ["--listen-host", HOST, "--listen-port", str(port), "--mode", f"reverse:http://{site.upstream}"]
    with _proxy(site, port, [str(binary), *options, *where, "-s", str(PROGRAMS / "mitmproxy_addon.py")]) as target:
        yield target


@contextlib.contextmanager
def _program(site: Site, requirements: str, file: str) -> Iterator[Target]:
    port = free_port()
    command = [str(environment.python(requirements)), str(PROGRAMS / file), str(port), site.upstream]
    with _proxy(site, port, command) as target:
        yield target


@contextlib.contextmanager
def _proxy(site: Site, port: int, command: Sequence[str]) -> Iterator[Target]:
    log = site.folder / "proxy.log"
    # An embedded Python finds its home by PATH.
    path = os.pathsep.join([str(Path(command[0]).parent), os.environ["PATH"]])
    with running(command, log, {"PATH": path, "PYTHONPATH": str(PROGRAMS)}) as process:
        await_answer(port, site.row.path, process, log)
        family = tuple(sorted(cpu.snapshot().descendants(process.pid)))
        yield Target(port, lambda: {PYTHON: family}, log)
