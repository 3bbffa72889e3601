"""The bytes of a signed state: three lines and a serialized `gatewright.node.v1.Update`.

    gatewright-signed-state 1
    {"controller":"…","made":"2026-12-01T04:00:00.000Z","revision":7,"labels":{"zone":"eu"},"size":1234,…,"key":"…"}
    SIGNATURE, in hex
    UPDATE

The signature (Ed25519, RFC 8032) is of the first two lines with their line ends; `size` and `digest` (SHA-256) bind the
update to them. `key` names the public key: the beginning of the SHA-256 of its 32 bytes. The engine reads the same
format: internal/node/signedstate.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping

import msgspec

MAGIC = b"gatewright-signed-state 1\n"
MOST_BYTES = 512 << 20
"""Of a whole document, as in the engine."""
MOST_HEAD_BYTES = 16384
"""64 labels have 8.5 KB."""
SIGNATURE_DIGITS = 128
MAKE_ANEW = "fetch it again, or export it anew"


class Head(msgspec.Struct, frozen=True):
    """controller: which one made it. made: when, by RFC 3339. revision: of the newest write in it. labels: of the nodes
    that it is for, it has what they run; None: of any nodes. size, digest: of the update. key: names the public key of
    the signature.
    """

    controller: str
    made: str
    revision: int
    size: int
    digest: str
    key: str
    labels: dict[str, str] | None = None


class SignedStateError(Exception):
    """A document that is not to be used; the message says what was expected, what came, and the cure."""


class SigningKey(msgspec.Struct, frozen=True):
    """id: names its public key."""

    id: str
    sign: Callable[[bytes], bytes]


class Authority(msgspec.Struct, frozen=True):
    """The public keys whose signature counts. verifiers: by the names of the keys; each says whether a signature
    (second) is of the text (first)."""

    verifiers: dict[str, Callable[[bytes, bytes], bool]]

    @property
    def names(self) -> str:
        return " or ".join(self.verifiers)


def key_id(public: bytes) -> str:
    """Names a public key of 32 bytes."""
    return hashlib.sha256(public).hexdigest()[:16]


def sign(
    update: bytes, *, controller: str, made: str, revision: int, labels: Mapping[str, str] | None, key: SigningKey
) -> bytes:
    """The document of a serialized update."""
    digest, known_labels = hashlib.sha256(update).hexdigest(), None if labels is None else dict(sorted(labels.items()))
    head = Head(controller, made, revision, len(update), digest, key.id, known_labels)
    signed = MAGIC + msgspec.json.encode(head) + b"\n"
    return b"".join((signed, key.sign(signed).hex().encode(), b"\n", update))


def read_head(document: bytes) -> Head:
    """The head as it stands there, whether or not its signature is right. Raises `SignedStateError`."""
    return _split(document)[1]


def verify(document: bytes, authority: Authority) -> tuple[Head, bytes]:
    """The head and the serialized update. Raises `SignedStateError`."""
    signed, head, signature, update = _split(document)
    if (is_signed := authority.verifiers.get(head.key)) is None:
        cure = "name the public key of the controller that made it"
        raise SignedStateError(
            f"expected a state that is signed by the key {authority.names}, got one by the key {head.key}: {cure}"
        )
    if not is_signed(signed, signature):
        raise SignedStateError(
            f"expected a signature of the key {head.key}, got another one: it was changed or damaged; {MAKE_ANEW}"
        )
    if len(update) != head.size:
        what = "cut short" if len(update) < head.size else "longer"
        raise SignedStateError(f"expected {head.size} bytes of state, got {len(update)}: it is {what}; {MAKE_ANEW}")
    if hashlib.sha256(update).hexdigest() != head.digest:
        raise SignedStateError(f"expected a state with the digest that its head names, got damaged bytes; {MAKE_ANEW}")
    return head, update


def _split(document: bytes) -> tuple[bytes, Head, bytes, bytes]:
    """What is signed, the head, the signature, the update."""
    if len(document) > MOST_BYTES:
        raise SignedStateError(f"expected a state of at most {MOST_BYTES} bytes, got more: name another")
    if not document.startswith(MAGIC):
        expected = MAGIC.decode().strip()
        raise SignedStateError(f"expected a file whose first line is {expected!r}, got another: name a signed state")
    end = document.find(b"\n", len(MAGIC), len(MAGIC) + MOST_HEAD_BYTES)
    signature_end = end + 1 + SIGNATURE_DIGITS
    if end < 0 or document[signature_end : signature_end + 1] != b"\n":
        raise SignedStateError(f"expected a head and a signature, got lines without them; {MAKE_ANEW}")
    try:
        head = msgspec.json.decode(document[len(MAGIC) : end], type=Head)
        digits = document[end + 1 : signature_end].decode("ascii")
        signature = bytes.fromhex(digits)
    except ValueError:  # msgspec's errors are
        raise SignedStateError(f"expected a head in JSON and a signature in hex, got others; {MAKE_ANEW}") from None
    if signature.hex() != digits:
        raise SignedStateError(f"expected a signature in hex, got other characters; {MAKE_ANEW}")
    return document[: end + 1], head, signature, document[signature_end + 1 :]
