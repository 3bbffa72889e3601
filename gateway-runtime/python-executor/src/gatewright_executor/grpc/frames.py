"""Parses and writes HTTP/2 frames (RFC 9113, 4 and 6), without I/O. protocol.py interprets them."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from enum import IntEnum
from typing import TypeAlias

import hpack

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
LARGEST_FRAME = 16 << 10  # bytes of a payload that the client may send; it may accept larger ones
LARGEST_HEADERS = 64 << 10  # encoded bytes of a call's headers
MOST_PIECES = 1024  # frames of a call's headers, any of which may be empty
_PRIORITY_BYTES = 5  # the payload of PRIORITY, which HEADERS may begin with
_HEAD = struct.Struct(">HBBBI")  # the length in three bytes, the kind, the flags, the stream id
_SETTING = struct.Struct(">HI")
_STREAM_ID = (1 << 31) - 1  # the bit before it is reserved


class Kind:
    """Types of frames; others are ignored (RFC 9113, 4.1). Plain numbers, since looking up an enum takes 0.1 µs."""

    DATA = 0
    HEADERS = 1
    PRIORITY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PUSH_PROMISE = 5
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9


class Flag:
    """Flags of frames. Some bits have another meaning for another kind."""

    NONE = 0
    ACK = 1
    END_STREAM = 1
    END_HEADERS = 4
    PADDED = 8
    PRIORITY = 32


class Setting(IntEnum):
    """The settings that either side uses."""

    HEADER_TABLE_SIZE = 1
    ENABLE_PUSH = 2
    MAX_CONCURRENT_STREAMS = 3
    INITIAL_WINDOW_SIZE = 4
    MAX_FRAME_SIZE = 5


class Code(IntEnum):
    """Error codes with which a call or a connection ends."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    FLOW_CONTROL_ERROR = 3
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    COMPRESSION_ERROR = 9
    ENHANCE_YOUR_CALM = 11


class ProtocolError(Exception):
    """The peer has violated HTTP/2, which ends the connection."""

    def __init__(self, code: Code, what: str) -> None:
        super().__init__(f"{what} ({code.name})")
        self.code = code


Frame: TypeAlias = tuple[int, int, int, bytes]
"""Kind, flags, stream id or 0, payload."""


class FrameReader:
    """Splits the bytes of a client, which come in any pieces, into frames."""

    __slots__ = ("_has_preface", "_rest")

    def __init__(self) -> None:
        self._rest = b""
        self._has_preface = False

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that are complete now. Raises ProtocolError after the frames before the violation."""
        data, at = self._rest + data, 0
        if not self._has_preface:
            at = self._preface(data)
        while self._has_preface and len(data) - at >= _HEAD.size:
            high, low, kind, flags, stream_id = _HEAD.unpack_from(data, at)
            length, begin = high << 8 | low, at + _HEAD.size
            if length > LARGEST_FRAME:
                raise ProtocolError(Code.FRAME_SIZE_ERROR, f"expected at most {LARGEST_FRAME} bytes, got {length}")
            if begin + length > len(data):
                break
            at = begin + length
            yield kind, flags, stream_id & _STREAM_ID, data[begin:at]
        self._rest = data[at:]

    def _preface(self, data: bytes) -> int:
        """Checks the preface, and returns the position of the first frame."""
        if not PREFACE.startswith(data[: len(PREFACE)]):
            raise ProtocolError(Code.PROTOCOL_ERROR, f"expected HTTP/2, got {data[: len(PREFACE)]!r}")
        self._has_preface = len(data) >= len(PREFACE)
        return len(PREFACE) if self._has_preface else 0


class HeaderReader:
    """Joins and decodes headers, which come in one frame or several. One for the connection, since the decoder is."""

    __slots__ = ("_block", "_decoder", "_flags", "_pieces", "stream_id")

    def __init__(self) -> None:
        self._decoder = hpack.Decoder()
        self._block = b""
        self._pieces = 0
        self._flags = 0
        self.stream_id = 0  # of the call whose headers are incomplete; 0: none are, and other frames may come

    def start_block(self, stream_id: int, flags: int, payload: bytes) -> list[tuple[bytes, bytes]] | None:
        """Takes HEADERS. Returns the headers once they are complete. Raises ProtocolError."""
        block = unpadded(flags, payload)
        if flags & Flag.PRIORITY:
            if len(block) < _PRIORITY_BYTES:
                raise ProtocolError(Code.FRAME_SIZE_ERROR, f"expected a priority, got {len(block)} bytes")
            block = block[_PRIORITY_BYTES:]
        self._block, self._pieces, self._flags, self.stream_id = b"", 0, flags, stream_id
        return self._add(flags, block)

    def continue_block(self, stream_id: int, flags: int, payload: bytes) -> list[tuple[bytes, bytes]] | None:
        """Takes CONTINUATION. Returns the headers once they are complete. Raises ProtocolError."""
        if stream_id != self.stream_id or not stream_id:
            raise ProtocolError(Code.PROTOCOL_ERROR, f"expected no continuation of headers of call {stream_id}")
        return self._add(flags, payload)

    @property
    def are_last(self) -> bool:
        """Whether nothing follows the headers."""
        return bool(self._flags & Flag.END_STREAM)

    def _add(self, flags: int, block: bytes) -> list[tuple[bytes, bytes]] | None:
        self._block += block
        self._pieces += 1
        if len(self._block) > LARGEST_HEADERS:
            raise ProtocolError(
                Code.ENHANCE_YOUR_CALM, f"expected headers of at most {LARGEST_HEADERS} bytes, got more"
            )
        if self._pieces > MOST_PIECES:
            raise ProtocolError(Code.ENHANCE_YOUR_CALM, f"expected headers in at most {MOST_PIECES} frames, got more")
        if not flags & Flag.END_HEADERS:
            return None
        self.stream_id = 0
        try:
            return [(bytes(name), bytes(value)) for name, value, *_ in self._decoder.decode(self._block, raw=True)]
        except hpack.HPACKError as error:
            raise ProtocolError(Code.COMPRESSION_ERROR, f"expected headers, got {error}") from None


# ------------------------------------------------------------------ payloads


def unpadded(flags: int, payload: bytes) -> bytes:
    """The content of a DATA or HEADERS frame, without its padding."""
    if not flags & Flag.PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise ProtocolError(Code.PROTOCOL_ERROR, "expected less padding than there is in the frame")
    return payload[1 : len(payload) - payload[0]]


def read_settings(payload: bytes) -> Iterable[tuple[int, int]]:
    """The names (Setting and unknown ones) and values of a SETTINGS frame."""
    if len(payload) % _SETTING.size:
        raise ProtocolError(Code.FRAME_SIZE_ERROR, f"expected whole settings, got {len(payload)} bytes")
    return _SETTING.iter_unpack(payload)


def settings(values: dict[Setting, int]) -> bytes:
    """The payload of a SETTINGS frame."""
    return b"".join(_SETTING.pack(*item) for item in values.items())


def read_uint31(payload: bytes) -> int:
    """The number in a WINDOW_UPDATE or RST_STREAM frame."""
    check_size(payload, 4)
    return int.from_bytes(payload) & _STREAM_ID


def check_priority(stream_id: int, payload: bytes) -> None:
    """Checks a PRIORITY frame, which is otherwise ignored (RFC 9113, 5.3.2)."""
    if not stream_id:
        raise ProtocolError(Code.PROTOCOL_ERROR, "expected a call that has the priority, got none")
    check_size(payload, _PRIORITY_BYTES)


def check_go_away(stream_id: int, payload: bytes) -> None:
    """Checks a GOAWAY frame: a stream id, a reason, and any text."""
    check_of_connection(stream_id)
    if len(payload) < 8:
        raise ProtocolError(Code.FRAME_SIZE_ERROR, f"expected a GOAWAY of 8 bytes or more, got {len(payload)}")


def check_size(payload: bytes, size: int) -> None:
    """Checks the payload of a kind that has a fixed size."""
    if len(payload) != size:
        raise ProtocolError(Code.FRAME_SIZE_ERROR, f"expected a payload of {size} bytes, got {len(payload)}")


def check_of_connection(stream_id: int) -> None:
    """Checks that a frame of a kind for the connection names no call."""
    if stream_id:
        raise ProtocolError(Code.PROTOCOL_ERROR, f"expected a frame of the connection, got one of call {stream_id}")


def frame_header(length: int, kind: int, flags: int, stream_id: int) -> bytes:
    """The header of a frame with a payload of `length` bytes."""
    return _HEAD.pack(length >> 8, length & 0xFF, kind, flags, stream_id)
