"""Lets a request pass only if the client's certificate has one of the names, or fingerprints, that are allowed.

The gateway has verified the certificate: the listener says by which authority (`clientCertificates`). An authority that
signs for many is no list of who may ask for this API; this policy is one.

Only alternative names count, whole and one by one: what an authority lets stand in a subject is free text.
Without a certificate, as on a listener that asks for none, nothing passes.
"""

from collections.abc import Callable
from typing import Any

from sdk.policy import ImmediateResponse, Peer, RequestAction, RequestContext

Allows = Callable[[Peer], bool]


def prepare(params: dict[str, Any]) -> Allows:
    uris = {uri for uri in params.get("uris", ()) if not uri.endswith("/*")}
    below = tuple(uri.removesuffix("*") for uri in params.get("uris", ()) if uri.endswith("/*"))
    names = {name.lower() for name in params.get("dnsNames", ())}
    emails = {local_and_host(address) for address in params.get("emailAddresses", ())}
    fingerprints = {one.replace(":", "").lower() for one in params.get("fingerprints", ())}

    def allows(peer: Peer) -> bool:
        return (
            peer.fingerprint in fingerprints
            or any(uri in uris or is_below(uri, below) for uri in peer.uris)
            or any(name.lower() in names or any_label(name) in names for name in peer.dns_names)
            or any(local_and_host(address) in emails for address in peer.email_addresses)
        )

    return allows


def is_below(uri: str, prefixes: tuple[str, ...]) -> bool:
    """Dots could lead out again, to whoever reads them as a path."""
    return uri.startswith(prefixes) and not {"", ".", ".."} & set(uri.partition("://")[2].split("/"))


def any_label(name: str) -> str:
    """`*.example.org` of `a.example.org`."""
    first, _, rest = name.lower().partition(".")
    return f"*.{rest}" if first else ""


def local_and_host(address: str) -> str:
    """The case of a host means nothing; that of what stands before it may (RFC 5321, 2.4)."""
    local, _, host = address.rpartition("@")
    return f"{local}@{host.lower()}"


def on_request(ctx: RequestContext, params: dict[str, Any]) -> RequestAction:
    if ctx.peer is None:
        return refused("A client certificate is needed here.")
    if not ctx.prepared(ctx.peer):
        return refused("This client certificate is not allowed here.")
    return None


def refused(why: str) -> ImmediateResponse:
    return ImmediateResponse(403, {"content-type": "text/plain"}, why + "\n")
