"""Certificates for tests: an authority, and the certificates that it issues."""

from __future__ import annotations

import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

DAY = datetime.timedelta(days=1)
SIGNS = x509.KeyUsage(
    digital_signature=False, content_commitment=False, key_encipherment=False, data_encipherment=False,
    key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
)  # fmt: skip
PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey


@dataclass(frozen=True)
class Authority:
    """Issues certificates and keeps their files in its folder. file: its own certificate, PEM."""

    folder: Path
    name: str
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def file(self) -> Path:
        return self.folder / f"{self.name}.pem"

    @property
    def key_identifier(self) -> x509.AuthorityKeyIdentifier:
        """The key identifier of certificates that it issues: strict clients require it (RFC 5280, 4.2.1.1)."""
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())

    def issue(
        self, name: str, *hosts: str, kind: Literal["ec", "rsa"] = "ec", lived: datetime.timedelta = DAY
    ) -> tuple[Path, Path]:
        """The files of a certificate for these host names and addresses, and of its key. It ends in a day. lived: since
        when it is valid."""
        key = rsa.generate_private_key(65537, 2048) if kind == "rsa" else ec.generate_private_key(ec.SECP256R1())
        alternatives = x509.SubjectAlternativeName([_general(host) for host in hosts])
        built = _builder(name, self.certificate.subject, key.public_key(), lived)
        built = built.add_extension(alternatives, critical=False).add_extension(self.key_identifier, critical=False)
        certificate = built.sign(self.key, hashes.SHA256())
        chain, key_file = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        chain.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return chain, key_file

    def revoke(self, *certificates: x509.Certificate) -> Path:
        """Writes a revocation list of these certificates alone, and returns its file."""
        now = datetime.datetime.now(datetime.UTC)
        built = x509.CertificateRevocationListBuilder(self.certificate.subject, now - DAY, now + DAY)
        for certificate in certificates:
            revoked = x509.RevokedCertificateBuilder(certificate.serial_number, now - DAY).build()
            built = built.add_revoked_certificate(revoked)
        file, new_file = self.folder / f"{self.name}.crl", self.folder / f"{self.name}.crl.new"
        new_file.write_bytes(built.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        return new_file.rename(file)


def authority(folder: Path, name: str = "authority") -> Authority:
    """A new authority whose certificates strict clients accept, such as those of Python 3.13."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = _builder(name, subject, key.public_key())
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    builder = builder.add_extension(SIGNS, critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    certificate = builder.sign(key, hashes.SHA256())
    new_authority = Authority(folder, name, key, certificate)
    new_authority.file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return new_authority


def _builder(name: str, issuer: x509.Name, key: PublicKey, lived: datetime.timedelta = DAY) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - lived)
        .not_valid_after(now + DAY)
    )


def _general(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
