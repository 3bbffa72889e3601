"""What is served until there is a certificate: a self-signed one, so that listeners are complete from the start.

    python -P -m gatewright_controller.acme.placeholder

stdin: {"folder": PATH, "hosts": {NAME: [HOST, …]}}.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from gatewright_controller.local.acme_folder import certificate_file, write_private
from gatewright_controller.local.private import keep_private

COMMON_NAME = "no certificate has been obtained yet"
LIFETIME = timedelta(days=365)


def write_placeholders(folder: Path, hosts: dict[str, Sequence[str]]) -> None:
    """For those names of certificates that have no file: self-signed, for these hosts."""
    for name, named in hosts.items():
        file = certificate_file(folder, name)
        if not file.exists():
            write_private(file, self_signed(named))


def self_signed(hosts: Sequence[str]) -> bytes:
    """PEM: certificate and key."""
    from cryptography import x509  # here, for it comes with ACME alone, and takes time
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, COMMON_NAME)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts]), critical=False)
        .sign(key, hashes.SHA256())
    )
    own = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return certificate.public_bytes(serialization.Encoding.PEM) + own


def main() -> None:
    """Once."""
    keep_private()
    os.umask(0o077)
    asked = json.load(sys.stdin)
    write_placeholders(Path(asked["folder"]), asked["hosts"])


if __name__ == "__main__":
    main()
