"""The public keys of a provider, by their ids and the algorithms that they are for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jwt
from gatewright_documents.values import JsonObject, JsonValue

KEY_TYPES: Mapping[str, tuple[str, str | None]] = {
    "RS256": ("RSA", None),
    "PS256": ("RSA", None),
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "EdDSA": ("OKP", "Ed25519"),
}
"""The type and curve of the keys of each algorithm that is accepted (RFC 7518, 3.1; RFC 8037, 3.1)."""
ALGORITHMS = tuple(KEY_TYPES)
RSA_BITS = range(2048, 8193)


class KeySet:
    """Of a JWK Set (RFC 7517), the keys that verify signatures of `ALGORITHMS`; others are passed over."""

    def __init__(self, document: JsonObject) -> None:
        """Raises ValueError where there is no such key."""
        listed = document.get("keys")
        if not isinstance(listed, list):
            raise ValueError("expected a JWK Set, an object with a list of keys")
        self._keys: dict[tuple[str | None, str], Any] = {}
        for jwk in listed:
            for algorithm in algorithms_of(jwk):
                if (key := _public_key(jwk, algorithm)) is not None:
                    self._keys.setdefault((jwk.get("kid"), algorithm), key)
        if not self._keys:
            raise ValueError(f"expected a public key for {', '.join(ALGORITHMS)}, got none among {len(listed)}")

    def find(self, kid: str | None, algorithm: str) -> Any | None:
        """The key of this id that is for the algorithm; without an id the only one for it."""
        if kid is not None:
            return self._keys.get((kid, algorithm))
        fitting = [key for (_, name), key in self._keys.items() if name == algorithm]
        return fitting[0] if len(fitting) == 1 else None

    def knows(self, kid: str | None) -> bool:
        """Whether a key has this id: newer keys would not help then."""
        return kid is None or any(known == kid for known, _ in self._keys)


def algorithms_of(jwk: JsonValue) -> list[str]:
    """Those that a JWK is for: of its type and curve, and of its `alg` where it has one."""
    if not isinstance(jwk, dict) or not isinstance(jwk.get("kid"), str | None):
        return []
    operations = jwk.get("key_ops", ["verify"])
    if jwk.get("use", "sig") != "sig" or not isinstance(operations, list) or "verify" not in operations:
        return []
    if "d" in jwk or "k" in jwk:  # it is published, and so no longer secret
        return []
    named = "EdDSA" if jwk.get("alg") == "Ed25519" else jwk.get("alg")  # two names of one algorithm (RFC 9864)
    kind = (jwk.get("kty"), None if jwk.get("kty") == "RSA" else jwk.get("crv"))
    return [name for name, wanted in KEY_TYPES.items() if wanted == kind and named in (None, name)]


def _public_key(jwk: JsonObject, algorithm: str) -> Any | None:
    """None for one that cannot be read, or is too weak."""
    try:
        key = jwt.PyJWK({**jwk, "alg": algorithm}).key
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        return None
    return None if jwk["kty"] == "RSA" and key.key_size not in RSA_BITS else key
