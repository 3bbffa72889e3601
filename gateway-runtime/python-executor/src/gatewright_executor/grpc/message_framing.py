"""Frames gRPC messages in a stream of bytes: a flag, a length, the message. No I/O.

https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md, Length-Prefixed-Message
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

_LARGE = 1024  # bytes of a piece
_PREFIX = struct.Struct(">BI")  # compressed?, length


class MessageTooLargeError(Exception):
    """A message is larger than the limit; it was not read."""


class CompressedError(Exception):
    """A message is compressed, although the executor announces no compression."""


def frame_message(message: bytes) -> bytes:
    """The message with its prefix."""
    return _PREFIX.pack(0, len(message)) + message


class MessageReader:
    """Splits bytes, which come in any pieces, into messages. `limit`: the most bytes of a message."""

    __slots__ = ("_have", "_limit", "_need", "_pieces")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._pieces: list[bytes | bytearray] = []  # of an incomplete message
        self._have = 0
        self._need = _PREFIX.size  # bytes until the next step

    def feed(self, piece: bytes) -> Sequence[bytes]:
        """The messages that are complete now. Raises MessageTooLargeError, CompressedError."""
        self._have += len(piece)
        if self._have < self._need:
            self._keep(piece)
            return ()
        whole = b"".join((*self._pieces, piece)) if self._pieces else piece
        messages, at = [], 0
        while (end := self._end_of_message(whole, at)) <= len(whole):
            messages.append(whole[at + _PREFIX.size : end])
            at = end
        self._pieces.clear()
        self._have, self._need = len(whole) - at, end - at
        if self._have:
            self._keep(whole[at:])
        return messages

    def _keep(self, piece: bytes) -> None:
        """Joins small pieces, which would take many times their size as objects of their own."""
        if len(piece) >= _LARGE:
            self._pieces.append(piece)
        elif self._pieces and isinstance(self._pieces[-1], bytearray):
            self._pieces[-1] += piece
        elif piece:
            self._pieces.append(bytearray(piece))

    @property
    def is_between(self) -> bool:
        """Whether no message is incomplete."""
        return not self._have

    def _end_of_message(self, whole: bytes, at: int) -> int:
        """The end of the message that begins at `at`, or of its prefix if that is incomplete."""
        if len(whole) - at < _PREFIX.size:
            return at + _PREFIX.size
        compressed: int
        length: int
        compressed, length = _PREFIX.unpack_from(whole, at)
        if compressed:
            raise CompressedError
        if length > self._limit:
            raise MessageTooLargeError(f"expected a message of at most {self._limit} bytes, got one of {length}")
        return at + _PREFIX.size + length
