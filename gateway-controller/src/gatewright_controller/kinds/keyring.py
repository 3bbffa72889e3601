"""Values at rest: AES-256-GCM by keys of the operator's, of which the first encrypts and all decrypt.

An encrypted value is text, `KEY_ID:BASE64` of nonce and ciphertext, and bound to its place: it decrypts nowhere else.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import os
from collections.abc import Mapping
from pathlib import Path

from gatewright_documents.mistake import Invalid, Mistake
from gatewright_documents.os_errors import os_reason

KEY_BYTES, NONCE_BYTES, ID_CHARACTERS = 32, 12, 12
NEW_KEY = "`openssl rand -base64 32` makes one"
NO_KEY_CURE = (
    f"start the controller with --secret-key-file FILE or GATEWRIGHT_CONTROLLER_SECRET_KEY; {NEW_KEY}, and a restore "
    "of the database needs it"
)


class NoKeyError(Exception):
    """The controller has no key to encrypt with."""


class WrongKeyError(Exception):
    """A value that none of the controller's keys decrypts; the message says which one would."""


class Keyring:
    """text: keys, one after the other, as `parse_keys` takes them. file: where they stand, which is read again for a
    value of another key; None: they stand in no file. Raises `Invalid`."""

    def __init__(self, text: str = "", file: Path | None = None) -> None:
        self._file = file
        self._keys = parse_keys(_read(file) if file else text)

    def __bool__(self) -> bool:
        return bool(self._keys)

    def reread(self) -> None:
        """The file may have other keys by now. Raises `Invalid`, and then the keys stay."""
        if self._file:
            self._keys = parse_keys(_read(self._file))

    def encrypt(self, value: str, place: str) -> str:
        """By the first key. Raises `NoKeyError`."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # here, for few starts have a Secret

        if not self._keys:
            raise NoKeyError
        key_id, key = next(iter(self._keys.items()))
        nonce = os.urandom(NONCE_BYTES)
        sealed = AESGCM(key).encrypt(nonce, value.encode(), place.encode())
        return f"{key_id}:{base64.b64encode(nonce + sealed).decode()}"

    def decrypt(self, sealed: str, place: str) -> str:
        """Raises `WrongKeyError`."""
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        key_id, _, text = sealed.partition(":")
        key = self._key(key_id)
        content = base64.b64decode(text)
        try:
            return AESGCM(key).decrypt(content[:NONCE_BYTES], content[NONCE_BYTES:], place.encode()).decode()
        except InvalidTag:
            raise WrongKeyError(
                f"the value at {place} was changed in the database, or brought from another place: write it anew"
            ) from None

    @property
    def newest_id(self) -> str:
        """Of the first key; "" where there is none."""
        return next(iter(self._keys), "")

    def is_newest(self, sealed: str) -> bool:
        """Whether the first key has encrypted it."""
        return sealed.partition(":")[0] == self.newest_id

    def digest(self, values: Mapping[str, str]) -> str:
        """Names the values, alike in each controller with the same first key; says nothing of them without it."""
        key = next(iter(self._keys.values()), b"")
        own = hmac.digest(key, b"gatewright versions of secrets", "sha256")
        return hmac.new(own, json.dumps(values, sort_keys=True).encode(), hashlib.sha256).hexdigest()[:32]

    def _key(self, key_id: str) -> bytes:
        if key_id not in self._keys:
            try:
                self.reread()
            except Invalid as invalid:
                raise WrongKeyError(f"the keys cannot be read again: {invalid}") from None
        if key_id not in self._keys:
            known = ", ".join(self._keys) or "none"
            raise WrongKeyError(
                f"expected the key {key_id}, which encrypted it, got {known}: add that key behind the others, or write "
                "the values anew"
            )
        return self._keys[key_id]


def key_id_of(key: bytes) -> str:
    """Names a key; says nothing of it, since it has 32 random bytes."""
    return hmac.new(key, b"gatewright secret key", hashlib.sha256).hexdigest()[:ID_CHARACTERS]


def parse_keys(text: str) -> dict[str, bytes]:
    """Keys by their ids, in their order: each 32 bytes as base64 or hex, with white space or commas between them.

    Raises `Invalid`, which shows no key."""
    keys: dict[str, bytes] = {}
    for number, word in enumerate(text.replace(",", " ").split(), start=1):
        key = _decoded(word)
        if len(key) != KEY_BYTES:
            expected = f"key {number} to be {KEY_BYTES} bytes as base64 or hex"
            raise Invalid([Mistake.expecting(expected, "another text", NEW_KEY, field="secretKey")])
        keys[key_id_of(key)] = key
    return keys


def _decoded(word: str) -> bytes:
    """Empty where it is neither."""
    if len(word) == 2 * KEY_BYTES:
        try:
            return bytes.fromhex(word)
        except ValueError:
            return b""
    try:
        return base64.b64decode(word.replace("-", "+").replace("_", "/"), validate=True)
    except binascii.Error:
        return b""


def _read(file: Path) -> str:
    """Raises `Invalid`."""
    try:
        text = file.read_text(encoding="ascii")
    except OSError as error:
        reason = f"{file}: {os_reason(error)}"
    except UnicodeDecodeError:
        reason = f"{file}: other bytes than ASCII"
    else:
        if text.strip():
            return text
        reason = f"{file}, which is empty"
    raise Invalid([Mistake.expecting("a file with a key", reason, NEW_KEY, field="secretKeyFile")])
