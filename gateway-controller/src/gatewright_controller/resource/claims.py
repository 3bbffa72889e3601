"""What an API has alone: its context, on each of its hosts and of its listeners."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from gatewright_controller.resource.hosts import patterns_of

EVERY_LISTENER = ""
"""What an API that names no listener has. Which these are changes with the Gateway, so it has all of them."""

NODES_SHARE_CONTEXTS = "a context is one API's on every node: give the APIs of other nodes other hosts or contexts"
"""To append to a refusal of an API that names nodes (decision 80)."""


class Claim(NamedTuple):
    """A host pattern (`*`: every host), a context with its version, and a listener."""

    host: str
    context: str
    listener: str

    def clashes(self, other: Claim) -> bool:
        """Whether a request could be for both. Of two patterns of hosts the narrower one is asked."""
        on_one_listener = EVERY_LISTENER in (self.listener, other.listener) or self.listener == other.listener
        return on_one_listener and (self.host, self.context) == (other.host, other.context)


def claims_of(hosts: Sequence[str], context: str, listeners: Sequence[str]) -> Iterator[Claim]:
    """Those of an API."""
    for host in patterns_of(hosts):
        for listener in listeners or [EVERY_LISTENER]:
            yield Claim(host, context, listener)
