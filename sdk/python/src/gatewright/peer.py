"""The identity of a client by its TLS certificate."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True, slots=True)
class Peer:
    """The identity of a client by its certificate, which the gateway has verified: `ctx.peer`.

    Names are those of the certificate, in order and unchanged, for instance `*.example` or `b,c`: compare whole names.
    Behind a TLS proxy the certificate is the proxy's.
    """

    subject: str = ""
    """In the form of RFC 4514: `CN=alice,O=Example\\, Inc.`; "" if the certificate has none. Prefer the names in the
    fields below: a subject is free text, as far as the authority allows it."""
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
    """Parses `peer` of an Execution of python_executor.proto, a JSON object; None if it is empty."""
    if not text:
        return None
    members = json.loads(text)
    return Peer(
        members["subject"],
        members["issuer"],
        tuple(members["dnsNames"]),
        tuple(members["uris"]),
        tuple(members["emailAddresses"]),
        tuple(members["ipAddresses"]),
        members["fingerprint"],
    )


def encode_peer(peer: Peer | None) -> bytes:
    """The JSON object that parse_peer reads."""
    if peer is None:
        return b""
    members = {
        "subject": peer.subject,
        "issuer": peer.issuer,
        "dnsNames": peer.dns_names,
        "uris": peer.uris,
        "emailAddresses": peer.email_addresses,
        "ipAddresses": peer.ip_addresses,
        "fingerprint": peer.fingerprint,
    }
    return json.dumps(members).encode()
