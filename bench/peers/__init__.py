"""The peers that our gateway is compared with: each is a row, set up by the bench itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass

from bench import environment, rows
from bench.peers import ext_proc, proxies
from bench.peers.envoy import plain_envoy
from bench.peers.site import Site
from bench.target import Target


@dataclass(frozen=True)
class Peer:
    """start: starts all that a row is measured through, and stops it in the end. requirements: what its environment is
    made of, for a peer in Python."""

    start: Callable[[Site], AbstractContextManager[Target]]
    requirements: str = ""


PEERS: Mapping[str, Peer] = {
    rows.PLAIN: Peer(plain_envoy),
    rows.GO_EXT_PROC: Peer(ext_proc.go_ext_proc),
    rows.AIO_EXT_PROC: Peer(ext_proc.aio_ext_proc, ext_proc.REQUIREMENTS),
    rows.SYNC_EXT_PROC: Peer(ext_proc.sync_ext_proc, ext_proc.REQUIREMENTS),
    rows.NAIVE: Peer(ext_proc.naive),
    rows.PYVOY: Peer(proxies.pyvoy, "pyvoy"),
    rows.AIOHTTP: Peer(proxies.aiohttp_proxy, "aiohttp"),
    rows.FASTAPI: Peer(proxies.fastapi_proxy, "fastapi"),
    rows.MITMPROXY: Peer(proxies.mitmproxy, "mitmproxy"),
}
"""By the row's key. Rows that are not here have an API at our gateway."""


def versions(keys: Iterable[str]) -> list[str]:
    """The versions of the peers of these rows, each once."""
    used = {PEERS[key].requirements for key in keys if key in PEERS}
    return [environment.versions(name) for name in sorted(used) if name]
