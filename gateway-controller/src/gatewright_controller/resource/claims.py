"""What an API has alone: its context, on each of its hosts and of its listeners; of an attached API the names of routes
that it is for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from gatewright_controller.model import Api
from gatewright_controller.resource.hosts import patterns_of
from gatewright_controller.resource.paths import context_of

EVERY_LISTENER = ""
"""What an API that names no listener has. Which these are changes with the Gateway, so it has all of them."""

ATTACHED = "attached:"
"""In the place of a host: the claim is on a name of `attachTo`, which stands in the place of a context. No host is
called so."""

NODES_SHARE_CONTEXTS = "a context is one API's on every node: give the APIs of other nodes other hosts or contexts"
NODES_SHARE_NAMES = "a name is one API's on every node: give the routes of other nodes other names"
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

    @property
    def is_name(self) -> bool:
        """Whether it is on a name of `attachTo`."""
        return self.host == ATTACHED


def claims_of_api(api: Api) -> Iterator[Claim]:
    """Those of an API."""
    spec = api.spec
    return claims_of(spec.hosts, context_of(spec.context, spec.version), spec.listeners, spec.attach_to)


def claims_of(
    hosts: Sequence[str], context: str, listeners: Sequence[str], attach_to: Sequence[str] = ()
) -> Iterator[Claim]:
    """Those of an API that says this. context: with its version."""
    if attach_to:  # this gateway's listeners do not serve it
        yield from (Claim(ATTACHED, name, EVERY_LISTENER) for name in attach_to)
        return
    for host in patterns_of(hosts):
        for listener in listeners or [EVERY_LISTENER]:
            yield Claim(host, context, listener)
