"""Who a client is by the certificate that it has shown."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True, slots=True)
class Peer:
    """Who a client is by its certificate, which the gateway has verified: `ctx.peer`.

    Names are those of the certificate, in order and as they stand there, for instance `*.example` or `b,c`: compare
    whole ones. Of a TLS proxy in front of the gateway it is the proxy's.
    """

    subject: str = ""
    """As RFC 4514 writes it: `CN=alice,O=Example\\, Inc.`; "" where the certificate has none. Names are better looked
    for in the fields below: what an authority lets stand in a subject is free text."""
    issuer: str = ""
    """The subject of the authority that has signed the certificate."""
    dns_names: tuple[str, ...] = ()
    """Alternative names (RFC 5280, 4.2.1.6): `orders.example`."""
    uris: tuple[str, ...] = ()
    """`spiffe://example.org/orders`."""
    email_addresses: tuple[str, ...] = ()
    ip_addresses: tuple[str, ...] = ()
    """`10.0.0.1`, `2001:db8::1`."""
    fingerprint: str = ""
    """The SHA-256 of the certificate (DER) in lower-case hex: 64 digits, no colons."""


@lru_cache(1024)  # a client shows the same one with each request
def parse_peer(text: bytes) -> Peer | None:
    """From `peer` of an Execution of python_executor.proto, a JSON object; None where that is empty."""
    if not text:
        return None
    said = json.loads(text)
    return Peer(
        said["subject"],
        said["issuer"],
        tuple(said["dnsNames"]),
        tuple(said["uris"]),
        tuple(said["emailAddresses"]),
        tuple(said["ipAddresses"]),
        said["fingerprint"],
    )


def encode_peer(peer: Peer | None) -> bytes:
    """What parse_peer reads."""
    if peer is None:
        return b""
    said = {
        "subject": peer.subject,
        "issuer": peer.issuer,
        "dnsNames": peer.dns_names,
        "uris": peer.uris,
        "emailAddresses": peer.email_addresses,
        "ipAddresses": peer.ip_addresses,
        "fingerprint": peer.fingerprint,
    }
    return json.dumps(said).encode()
