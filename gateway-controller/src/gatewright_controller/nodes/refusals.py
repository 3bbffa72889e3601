"""Nodes that were refused, for as long as they try again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import msgspec

from gatewright_controller.times import utc_now

MOST_REMEMBERED = 1000
REMEMBERED = timedelta(minutes=1)
"""Since the last try: a node tries again every second."""


class Refusal(msgspec.Struct, frozen=True):
    """node: the id that it claims. peer: where it connects from, as gRPC names it. at: the last time."""

    node: str
    peer: str
    reason: str
    at: datetime


class Refusals:
    """By the ids that nodes claim."""

    def __init__(self, now: Callable[[], datetime] = utc_now) -> None:
        self._now = now
        self._by_node: dict[str, Refusal] = {}

    def note(self, node: str, peer: str, reason: str) -> bool:
        """The node was refused. Whether that is news: it was not, or for another reason."""
        known = {refusal.node: refusal for refusal in self.current()}
        before = known.get(node)
        if before is None and len(known) >= MOST_REMEMBERED:
            known = {}
        self._by_node = {**known, node: Refusal(node, peer, reason, self._now())}
        return before is None or before.reason != reason

    def forget(self, node: str) -> None:
        """The node was admitted."""
        self._by_node.pop(node, None)

    def current(self) -> Sequence[Refusal]:
        """Those of nodes that still try, by id."""
        oldest = self._now() - REMEMBERED
        return [refusal for _, refusal in sorted(self._by_node.items()) if refusal.at > oldest]
