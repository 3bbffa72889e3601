"""What stands beside our gateway: each a row of its own, set up by the bench itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager

from bench.peers.envoy import plain_envoy
from bench.peers.go_ext_proc import go_ext_proc
from bench.peers.site import Site
from bench.rows import GO_EXT_PROC, PLAIN
from bench.target import Target

Peer = Callable[[Site], AbstractContextManager[Target]]
"""Starts all that a row is measured through, and stops it in the end."""

PEERS: Mapping[str, Peer] = {
    PLAIN: plain_envoy,
    GO_EXT_PROC: go_ext_proc,
}
"""By the row's key. Rows that are not here have an API at our gateway."""
