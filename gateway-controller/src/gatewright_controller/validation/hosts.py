"""What an API says of its hosts, and whether its context is free on each of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from gatewright_documents.mistake import Mistake
from gatewright_documents.values import JsonObject

from gatewright_controller.resource.claims import (
    ATTACHED,
    NODES_SHARE_CONTEXTS,
    NODES_SHARE_NAMES,
    Claim,
    claims_of,
)
from gatewright_controller.resource.hosts import EVERY_HOST, HostSyntaxError, check_host
from gatewright_controller.resource.paths import context_of
from gatewright_controller.validation.draft import Draft
from gatewright_controller.validation.values import as_object, as_text, texts_of

Claims = Mapping[Claim, str]
"""→ the name of the API that has it."""


def check_hosts(draft: Draft) -> Iterator[Mistake]:
    """Each is a pattern in its one spelling, and stands once."""
    first: dict[str, int] = {}
    for index, host in enumerate(draft.hosts):
        if not isinstance(host, str):
            continue
        try:
            check_host(host)
        except HostSyntaxError as error:
            yield Mistake(f"spec.hosts[{index}]", str(error))
            continue
        if (earlier := first.setdefault(host, index)) != index:
            yield Mistake(f"spec.hosts[{index}]", f"expected each host once, got {host!r}, as spec.hosts[{earlier}]")


def check_claims(draft: Draft, context: str, claims: Claims) -> Iterator[Mistake]:
    """`claims`: those of the other APIs."""
    hosts = [host for host in draft.hosts if isinstance(host, str)]
    own = list(claims_of(hosts, context, draft.listeners, draft.attach_to))
    contexts = {mine.context for mine in own}
    others = [(claim, name) for claim, name in claims.items() if claim.context in contexts]
    clashing = ((mine.host, mine.context, name) for mine in own for claim, name in others if claim.clashes(mine))
    for host, at, name in dict.fromkeys(clashing):
        yield context_taken(host, at, name, chooses_nodes=bool(draft.routing.raw.get("nodes")))


def claimed_by(document: JsonObject) -> list[Claim]:
    """What an API's document claims, as far as it can be read."""
    spec = as_object(document.get("spec"))
    context, version = as_text(spec.get("context")), as_text(spec.get("version"))
    if context is None or version is None:
        return []
    places = texts_of(spec.get("hosts")), context_of(context, version), texts_of(spec.get("listeners"))
    return list(claims_of(*places, texts_of(spec.get("attachTo"))))


def context_taken(host: str, context: str, api: str, *, chooses_nodes: bool = False) -> Mistake:
    """Two APIs at one context of one host, or at one name of `attachTo`, which stands in its place then: which one a
    request meets would be chance. chooses_nodes: whether the API that is refused names nodes."""
    if host == ATTACHED:
        which = f"; {NODES_SHARE_NAMES}" if chooses_nodes else ""
        expected = "expected names that no other API has"
        return Mistake("spec.attachTo", f"{expected}, got {context!r}, which is {api}'s{which}")
    where = "" if host == EVERY_HOST else f" on the host {host!r}"
    which = f"; {NODES_SHARE_CONTEXTS}" if chooses_nodes else ""
    return Mistake(
        "spec.context", f"expected a context that no other API has{where}, got {context!r}, which is {api}'s{which}"
    )
