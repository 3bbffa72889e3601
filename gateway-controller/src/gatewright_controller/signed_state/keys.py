"""Ed25519 keys in PEM files, by `cryptography`, which is imported where a key is used."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from gatewright_documents.mistake import Invalid, Mistake
from gatewright_documents.os_errors import os_reason

from gatewright_controller.signed_state.document import Authority, SigningKey, key_id

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

BLOCK = re.compile(rb"-----BEGIN PUBLIC KEY-----.+?-----END PUBLIC KEY-----", re.DOTALL)
MAKE = "`gatewright state key` makes a pair"
MOST_BYTES = 64 * 1024


def make_key(private: Path, public: Path) -> str:
    """Writes a new pair into two new files, the private key readable by its owner alone; returns the key's name. Raises
    `Invalid`."""
    _needed("key")
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    pem = serialization.Encoding.PEM
    _write_new(
        private,
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
        0o600,
    )
    try:
        _write_new(
            public,
            key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo),
            0o644,
        )
    except Invalid:
        private.unlink()
        raise
    return _id(key.public_key())


def signing_key(file: Path) -> SigningKey:
    """The private key in a file. Raises `Invalid`."""
    _needed(str(file))
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(_read(file), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        got = "another content" if key is None else "a key of another kind"
        raise Invalid(
            [Mistake.expecting("a private Ed25519 key in PEM, without a passphrase", got, MAKE, file=str(file))]
        )
    return SigningKey(_id(key.public_key()), key.sign)


def authority(file: Path) -> Authority:
    """The public keys in a file: several of them while one takes another's place. Raises `Invalid`."""
    _needed(str(file))
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        keys = [load_pem_public_key(block) for block in BLOCK.findall(_read(file))]
    except (ValueError, UnsupportedAlgorithm):
        keys = []
    ours = [key for key in keys if isinstance(key, Ed25519PublicKey)]
    if not ours or len(ours) < len(keys):
        expected = "one or more public Ed25519 keys in PEM"
        raise Invalid([Mistake.expecting(expected, "another content", f"{MAKE}: name the public one", file=str(file))])
    return Authority({_id(key): _verifier(key) for key in ours})


def _verifier(key: Ed25519PublicKey) -> Callable[[bytes, bytes], bool]:
    from cryptography.exceptions import InvalidSignature

    def is_signed(text: bytes, signature: bytes) -> bool:
        try:
            key.verify(signature, text)
        except InvalidSignature:
            return False
        return True

    return is_signed


def _id(key: Ed25519PublicKey) -> str:
    return key_id(key.public_bytes_raw())


def _needed(what: str) -> None:
    try:
        import cryptography  # noqa: F401
    except ImportError as error:
        cure = "pip install 'gatewright[state]'"
        raise Invalid([Mistake.expecting("cryptography", str(error), cure, field=what)]) from None


def _read(file: Path) -> bytes:
    """Raises `Invalid`."""
    try:
        with file.open("rb") as opened:
            return opened.read(MOST_BYTES)
    except OSError as error:
        raise Invalid([Mistake(str(file), f"expected a file that can be read, got: {error.strerror}")]) from None


def _write_new(file: Path, content: bytes, mode: int) -> None:
    """Raises `Invalid`."""
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as opened:
            opened.write(content)
    except FileExistsError:
        cure = "name another file, or remove it: nodes that know its public key need that key"
        raise Invalid([Mistake(str(file), f"expected no file there, got one: {cure}")]) from None
    except OSError as error:
        raise Invalid([Mistake(str(file), f"it could not be written ({os_reason(error)})")]) from None
