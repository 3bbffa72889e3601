"""Protobuf's wire format, as far as reply frames need it.

An Action built and serialized as a message costs 1.9 µs, its bytes written by hand 0.3 µs. Keys come from the
generated descriptors, so they cannot go stale. https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from functools import lru_cache

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

_LENGTH_DELIMITED = {FieldDescriptor.TYPE_BYTES, FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_MESSAGE}


_LAST = tuple(bytes((digit,)) for digit in range(0x80))
_MORE = tuple(bytes((digit | 0x80,)) for digit in range(0x80))


def varint(number: int) -> bytes:
    """A non-negative integer."""
    return _LAST[number] if number < 0x80 else _MORE[number & 0x7F] + _higher(number >> 7)


_higher = lru_cache(1024)(varint)  # the higher digits, which consecutive numbers share


_LENGTHS = tuple(varint(length) for length in range(4096))


def keys(message: type[Message]) -> dict[str, bytes]:
    """The key of each field (varints and length-delimited ones), by the field's name."""
    fields = message.DESCRIPTOR.fields
    return {field.name: varint(field.number << 3 | (2 if field.type in _LENGTH_DELIMITED else 0)) for field in fields}


def append_field(out: list[bytes], key: bytes, data: bytes) -> None:
    """Adds a field of bytes, a string or a message."""
    length = len(data)
    out += key, _LENGTHS[length] if length < 4096 else varint(length), data


def delimited(key: bytes, data: bytes) -> bytes:
    """A field of bytes, a string or a message."""
    length = len(data)
    return key + (_LENGTHS[length] if length < 4096 else varint(length)) + data
