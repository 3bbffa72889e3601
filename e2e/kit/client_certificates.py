"""Certificates of clients, with names of all kinds."""

from __future__ import annotations

import datetime
import hashlib
import ipaddress
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from e2e.kit.certificates import DAY, Authority

ALL_KINDS = (
    x509.DNSName("a.example"),
    x509.DNSName("b,DNS:c.example"),
    x509.UniformResourceIdentifier("spiffe://example.org/a,b"),
    x509.UniformResourceIdentifier('urn:"two"'),
    x509.RFC822Name("alice@example.org"),
    x509.IPAddress(ipaddress.ip_address("10.0.0.1")),
    x509.IPAddress(ipaddress.ip_address("2001:db8::1")),
)
"""Alternative names, some of which are hard to tell from several."""

HARD_SUBJECT = [
    x509.NameAttribute(NameOID.ORGANIZATION_NAME, 'Ex, "amplé" + Co'),
    x509.NameAttribute(NameOID.COMMON_NAME, "alice"),
]
"""In RFC 4514: HARD_SUBJECT_TEXT."""

HARD_SUBJECT_TEXT = 'CN=alice,O=Ex\\, \\"amplé\\" \\+ Co'


@dataclass(frozen=True)
class ClientCertificate:
    """The certificate and key of a client: files in PEM, the certificate with its issuer's name."""

    file: Path
    key_file: Path
    der: bytes

    @property
    def certificate(self) -> x509.Certificate:
        return x509.load_der_x509_certificate(self.der)

    @property
    def pem(self) -> str:
        return ssl.DER_cert_to_PEM_cert(self.der)

    @property
    def fingerprint(self) -> str:
        """SHA-256, in lower-case hex."""
        return hashlib.sha256(self.der).hexdigest()


def client_certificate(
    authority: Authority,
    name: str,
    *names: x509.GeneralName,
    subject: Sequence[x509.NameAttribute[str]] = (),
    lasts: datetime.timedelta = DAY,
) -> ClientCertificate:
    """A certificate with these alternative names; without a subject, its common name is `name`. lasts: from now on,
    negative for one that has expired."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    own = x509.Name(subject or [x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder(authority.certificate.subject, own, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - DAY)
        .not_valid_after(now + lasts)
    )
    builder = builder.add_extension(authority.key_identifier, critical=False)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    certificate = builder.sign(authority.key, hashes.SHA256())
    file, key_file = authority.folder / f"client-{name}.pem", authority.folder / f"client-{name}.key"
    file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    key_file.write_bytes(key.private_bytes(serialization.Encoding.PEM, *private))
    return ClientCertificate(file, key_file, certificate.public_bytes(serialization.Encoding.DER))


def client_tls(server: Authority, certificate: ClientCertificate | None = None) -> ssl.SSLContext:
    """The TLS context of a client that trusts the authority and shows the certificate, if there is one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_flags |= ssl.VERIFY_X509_STRICT  # as Python 3.13 has it by default
    context.load_verify_locations(server.file)
    if certificate is not None:
        context.load_cert_chain(certificate.file, certificate.key_file)
    return context
