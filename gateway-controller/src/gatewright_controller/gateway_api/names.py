"""Names of documents, derived from those of Kubernetes' objects: bounded, and equal for the same object only."""

from __future__ import annotations

import hashlib
import re

LONGEST = 63
DIGEST = 10
FOREIGN = re.compile(r"[^a-z0-9]+")


def document_name(*parts: str) -> str:
    """`shop-web-0a1b2c3d4e`: what can be read of the parts, and a digest of all of them."""
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:DIGEST]
    readable = FOREIGN.sub("-", "-".join(part for part in parts if part).lower()).strip("-")
    return f"{readable[: LONGEST - DIGEST - 1].strip('-')}-{digest}".lstrip("-")


def node_gateway_name(gateway: tuple[str, str, str]) -> str:
    """Of the NodeGateway of a Gateway. gateway: its key."""
    return document_name("gateway", gateway[1], gateway[2])


def label_value(*parts: str) -> str:
    """`shop.web`, whole where it fits: namespaces have no dots, so that two objects never have the same."""
    whole = ".".join(parts)
    return whole if len(whole) <= LONGEST else document_name(*parts)
