"""A certificate and its key in files, for a TLS server: loaded, or all that is wrong with them.

The command line checks the files of a Gateway by it, without anything else of the controller.
"""

from __future__ import annotations

import ssl
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from gatewright_controller.local.certificate_pin import Pin

MOST_BYTES = 8 << 20
"""As in the engine: internal/certificates."""


def load_pair(context: ssl.SSLContext, chain: str, key: str) -> list[str]:
    """Loads the pair into a server's context. Returns a sentence for each mistake, which begins with the file."""
    if mistakes := [*unreadable(chain), *unreadable(key)]:
        return mistakes
    if "-----BEGIN CERTIFICATE-----" not in text(chain):
        return [f"{chain}: expected a PEM block CERTIFICATE, got none: name the certificate, in PEM"]
    if "PRIVATE KEY-----" not in text(key):
        return [f"{key}: expected a PEM block PRIVATE KEY, got none: name the certificate's key, in PEM"]
    return list(_mismatch(context, chain, key))


def _mismatch(context: ssl.SSLContext, chain: str, key: str) -> Iterator[str]:
    is_encrypted = False

    def passphrase() -> str:
        nonlocal is_encrypted
        is_encrypted = True
        return ""

    try:
        context.load_cert_chain(chain, key, passphrase)
    except (ssl.SSLError, ValueError) as error:
        reason = getattr(error, "reason", None) or str(error)
        if is_encrypted:
            cure = "decrypt it (openssl pkey)"
            yield f"{key}: expected a key without a passphrase, got an encrypted one: {cure}"
        elif reason == "KEY_VALUES_MISMATCH":
            yield (
                f"{key}: expected the key of the first certificate in {chain}, got another one:"
                " name the key that it was made for, or put that certificate first"
            )
        else:
            yield f"expected a certificate and its key in PEM, got {chain} and {key}: {reason}"


def unreadable(file: str) -> Iterator[str]:
    """Mistakes of a PEM file. Checks its type before reading: a pipe would block, a device has no end."""
    try:
        status = Path(file).stat()
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
            yield f"{file}: expected a file that can be read, got a pipe or a device"
        elif status.st_size > MOST_BYTES:
            yield f"{file}: expected a PEM file of at most {MOST_BYTES} bytes, got {status.st_size}"
        else:
            text(file)
    except OSError as error:
        yield f"{file}: expected a file that can be read, got: {error.strerror}"


def text(file: str) -> str:
    """The content of a PEM file. Raises OSError."""
    return Path(file).read_text(encoding="latin-1")


class Validity(msgspec.Struct, frozen=True):
    """The time in which a certificate is valid."""

    begins: datetime
    ends: datetime

    def obstacle(self, now: datetime) -> str:
        """Why clients refuse the certificate now; "" while it is valid."""
        if now < self.begins:
            return f"is not valid before {self.begins:%Y-%m-%dT%H:%M:%SZ}"
        return f"has expired on {self.ends:%Y-%m-%dT%H:%M:%SZ}" if now >= self.ends else ""


def validity(context: ssl.SSLContext, chain: str) -> Validity:
    """That of the certificate that was loaded into the context from the file. Raises ssl.SSLError if no client accepts
    the certificate, such as one that is for clients alone.

    The standard library shows a certificate to its peer only, so a client in memory has a handshake with the context.
    """
    pin = Pin()
    pin.add(text(chain))
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = pin.context.wrap_bio(to_client, to_server)
    server = context.wrap_bio(to_server, to_client, server_side=True)
    while not (_advance(client) & _advance(server)):
        pass
    certificate = client.getpeercert() or {}
    begins, ends = (ssl.cert_time_to_seconds(str(certificate[name])) for name in ("notBefore", "notAfter"))
    return Validity(datetime.fromtimestamp(begins, UTC), datetime.fromtimestamp(ends, UTC))


def _advance(side: ssl.SSLObject) -> bool:
    """Whether the side has ended its handshake."""
    try:
        side.do_handshake()
    except ssl.SSLWantReadError:
        return False
    return True
