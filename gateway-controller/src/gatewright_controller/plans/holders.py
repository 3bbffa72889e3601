"""Which API has what, by host, context and listener."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from gatewright_controller.model import Api
from gatewright_controller.plans.plan import claims
from gatewright_controller.resource.claims import EVERY_LISTENER, Claim
from gatewright_controller.resource.hosts import EVERY_HOST, covers_host


class Holders:
    """Of these APIs, by name."""

    def __init__(self, apis: Mapping[str, Api]) -> None:
        self._by_context: dict[str, list[tuple[Claim, str]]] = {}
        for name, api in apis.items():
            for claim in claims(api):
                self._by_context.setdefault(claim.context, []).append((claim, name))

    def clashing(self, claim: Claim) -> Iterator[str]:
        """The APIs that a request for the claim could be for."""
        yield from (name for held, name in self._by_context.get(claim.context, ()) if held.clashes(claim))

    def reached_by(self, claim: Claim) -> str:
        """The API that a request below the claim's context reaches, "" where there is none: the one with the longest
        context, and of that with the narrowest host. Of a claim on a name: the API that has it."""
        if claim.is_name:
            return next(self.clashing(claim), "")
        for context in _upwards(claim.context):
            reached = [(held, name) for held, name in self._by_context.get(context, ()) if _takes(held, claim)]
            if reached:
                return max(reached, key=lambda pair: (pair[0].host != EVERY_HOST, len(pair[0].host)))[1]
        return ""


def _upwards(context: str) -> Iterator[str]:
    """`/a/b`, `/a`, `/`."""
    while context and context != "/":
        yield context
        context = context.rpartition("/")[0]
    yield "/"


def _takes(held: Claim, claim: Claim) -> bool:
    on_host = held.host == EVERY_HOST or covers_host(held.host, claim.host)
    return on_host and held.listener in (EVERY_LISTENER, claim.listener)
