"""The values of labels: who a request is from, and a bound on how many combinations of values there are."""

from __future__ import annotations

from typing import Any, NamedTuple

from sdk.policy import RequestContext

OTHER = "other"
MAX_VALUE = 128
"""The most characters of a label's value."""


class Labels(NamedTuple):
    api: str
    model: str
    client: str
    team: str


class Combinations:
    """Combinations of labels, at most so many: a further one is replaced by OTHER, in all but its API."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: set[Labels] = set()

    def bound(self, labels: Labels) -> Labels:
        cut = Labels(*(value[:MAX_VALUE] for value in labels))
        if cut in self._known:
            return cut
        if len(self._known) >= self._most:
            return Labels(cut.api, OTHER, OTHER, OTHER)
        self._known.add(cut)
        return cut


def value_of(ctx: RequestContext, source: dict[str, Any]) -> str:
    """The value of a label by the parameters `client` and `team`; "" if the request has none."""
    name = source.get("name", "")
    if source["from"] == "header":
        return ctx.headers.get(name, "")
    identity = ctx.identity
    if identity is None:
        return ""
    match source["from"]:
        case "subject":
            return f"{identity.issuer} {identity.subject}".strip()
        case "consumer":
            return identity.consumer
        case "label":
            return identity.labels.get(name, "")
        case "claim":
            claim = identity.claims.get(name, "")
            return claim if isinstance(claim, str) else ""
        case _:
            return ""
