"""Checks the files of a Gateway's certificates and authorities before anything is started."""

from __future__ import annotations

import ssl
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from gatewright_cli.node.listeners.gateway import Gateway

MOST_BYTES = 8 << 20
"""As in the engine: internal/certificates."""


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
    yield from _pair(f"certificate {name}", files["certificateFile"], files["keyFile"])


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


def _pair(owner: str, chain: str, key: str) -> Iterator[str]:
    mistakes = [*_unreadable(owner, chain), *_unreadable(owner, key)]
    yield from mistakes
    if mistakes:
        return
    if "-----BEGIN CERTIFICATE-----" not in _text(chain):
        yield f"{owner}: {chain}: expected a PEM block CERTIFICATE, got none: name the certificate, in PEM"
    elif "PRIVATE KEY-----" not in _text(key):
        yield f"{owner}: {key}: expected a PEM block PRIVATE KEY, got none: name the certificate's key, in PEM"
    else:
        yield from _mismatch(owner, chain, key)


def _mismatch(owner: str, chain: str, key: str) -> Iterator[str]:
    is_encrypted = False

    def passphrase() -> str:
        nonlocal is_encrypted
        is_encrypted = True
        return ""

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(chain, key, passphrase)
    except (ssl.SSLError, ValueError) as error:
        reason = getattr(error, "reason", None) or str(error)
        if is_encrypted:
            cure = "decrypt it (openssl pkey)"
            yield f"{owner}: {key}: expected a key without a passphrase, got an encrypted one: {cure}"
        elif reason == "KEY_VALUES_MISMATCH":
            yield (
                f"{owner}: {key}: expected the key of the first certificate in {chain}, got another one:"
                " name the key that it was made for, or put that certificate first"
            )
        else:
            yield f"{owner}: expected a certificate and its key in PEM, got {chain} and {key}: {reason}"


def _pem(owner: str, file: str, block: str, content: str) -> Iterator[str]:
    if wrong := list(_unreadable(owner, file)):
        yield from wrong
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(file)
        has_block = f"-----BEGIN {block}-----" in _text(file)
    except ssl.SSLError:
        has_block = False
    if not has_block:
        yield f"{owner}: {file}: expected a PEM file {content}, got one without a good block {block}"


def _unreadable(owner: str, file: str) -> Iterator[str]:
    """Mistakes of a file. Checks its type before reading: a pipe would block, a device has no end."""
    try:
        status = Path(file).stat()
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
            yield f"{owner}: {file}: expected a file that can be read, got a pipe or a device"
        elif status.st_size > MOST_BYTES:
            yield f"{owner}: {file}: expected a PEM file of at most {MOST_BYTES} bytes, got {status.st_size}"
        else:
            _text(file)
    except OSError as error:
        yield f"{owner}: {file}: expected a file that can be read, got: {error.strerror}"


def _text(file: str) -> str:
    return Path(file).read_text(encoding="latin-1")
