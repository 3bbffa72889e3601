"""Names made from content: the same content has the same name, on every machine and in every run."""

from __future__ import annotations

import hashlib
import json

from gatewright_documents.values import JsonValue

_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


def canonical(value: JsonValue) -> bytes:
    """JSON with sorted keys and no spaces, UTF-8."""
    return _encode(value).encode()


def digest_of(value: JsonValue) -> str:
    """32 hex digits."""
    return hashlib.sha256(canonical(value)).hexdigest()[:32]
