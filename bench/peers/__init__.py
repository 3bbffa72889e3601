"""The peers with which the gateway is compared. Each is a row, and the bench sets it up."""

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
    """start: starts the peer's processes, and stops them in the end. requirements: the name of a Python peer's list of
    requirements."""

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
"""By the row's key. The other rows have an API at the gateway."""


def versions(keys: Iterable[str]) -> list[str]:
    """The versions of these rows' peers, without duplicates."""
    used = {PEERS[key].requirements for key in keys if key in PEERS}
    return [environment.versions(name) for name in sorted(used) if name]
