"""What a masked value is replaced by."""

from __future__ import annotations

import hashlib
import hmac

from sdk.masking import Replace

DIGEST = 16
"""The hex digits of a hash that replaces a value."""


def set_text(text: str) -> Replace:
    return lambda _: text


def keep_last(count: int) -> Replace:
    """`**** **** **** 1111`: keeps separators, and at most half of the other characters."""

    def replace(value: str) -> str:
        places = [at for at, character in enumerate(value) if character.isalnum()]
        hidden = set(places[: len(places) - min(count, len(places) // 2)])
        return "".join("*" if at in hidden else character for at, character in enumerate(value))

    return replace


def hash_values(name: str, key: bytes) -> Replace:
    """`email:9f86d081884c7d65`: the same for the same value under the same key, whatever its case and separators."""

    def replace(value: str) -> str:
        plain = "".join(letter for letter in value.lower() if letter.isalnum() or letter in "@.:+_%'")
        digest = hmac.new(key, f"{name}\0{plain}".encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()
        return f"{name}:{digest[:DIGEST]}"

    return replace
