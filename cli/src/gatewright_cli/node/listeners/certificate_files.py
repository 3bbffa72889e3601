"""Checks the files of a Gateway's certificates and authorities before anything is started."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping

from gatewright_controller.local import certificate_pair

from gatewright_cli.node.listeners.gateway import Gateway


def mistakes(gateway: Gateway) -> list[str]:
    """A sentence for each unusable file."""
    return mistakes_beside(gateway, Gateway())[0]


def mistakes_beside(gateway: Gateway, before: Gateway) -> tuple[list[str], list[str]]:
    """The mistakes in two lists: for the certificates and authorities that `gateway` has changed, and for those with
    the same files in `before`, which do not refuse another change.
    """
    changed: list[str] = []
    unchanged: list[str] = []
    for kind, check in (("certificates", _certificate), ("authorities", _authority)):
        known = before.files(kind)
        for name, files in gateway.files(kind).items():
            (unchanged if known.get(name) == files else changed).extend(check(name, files))
    return changed, unchanged


def _certificate(name: str, files: Mapping[str, str]) -> Iterator[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    for sentence in certificate_pair.load_pair(context, files["certificateFile"], files["keyFile"]):
        yield f"certificate {name}: {sentence}"


def _authority(name: str, files: Mapping[str, str]) -> Iterator[str]:
    authority = f"authority {name}"
    yield from _pem(authority, files["file"], "CERTIFICATE", "of the certificates that sign others")
    if revoked := files.get("revocationFile"):
        yield from _pem(authority, revoked, "X509 CRL", "of revocation lists")


def unobtained(gateway: Gateway, *, controller: bool) -> Iterator[str]:
    """A sentence for each certificate by ACME, if the node has no controller to obtain it."""
    for name in [] if controller else gateway.obtained:
        cure = "leave --no-controller out, or name certificateFile and keyFile"
        yield f"certificate {name}: expected a controller, which obtains it by acme, got --no-controller: {cure}"


def _pem(owner: str, file: str, block: str, content: str) -> Iterator[str]:
    if wrong := list(certificate_pair.unreadable(file)):
        yield from (f"{owner}: {sentence}" for sentence in wrong)
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(file)
        has_block = f"-----BEGIN {block}-----" in certificate_pair.text(file)
    except ssl.SSLError:
        has_block = False
    if not has_block:
        yield f"{owner}: {file}: expected a PEM file {content}, got one without a good block {block}"
