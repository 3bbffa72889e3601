"""The frames to send on an HTTP/2 connection, within the client's windows. No I/O."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import hpack

from gatewright_executor.grpc import frames
from gatewright_executor.grpc.frames import LARGEST_FRAME, Code, Flag, Kind, ProtocolError, Setting

DEFAULT_WINDOW = (1 << 16) - 1  # bytes; RFC 9113, 6.9.2
LARGEST_WINDOW = (1 << 31) - 1
MOST_UNREAD = 10_000  # frames other than DATA that wait for a client to read
_FRAME_SIZES = range(LARGEST_FRAME, 1 << 24)
_TABLE_BYTES = 4096  # size of the header compression table; RFC 9113, 6.5.2
_ONE, _TWO = struct.Struct(">I"), struct.Struct(">II")


def widened(window: int, more: int) -> int:
    """A window, widened by the client's increment."""
    if window + more > LARGEST_WINDOW:
        raise ProtocolError(Code.FLOW_CONTROL_ERROR, f"expected windows of at most {LARGEST_WINDOW} bytes, got more")
    return window + more


class Outbox:
    """A queue of frames to send."""

    __slots__ = ("_encoder", "_pieces", "_table_sizes", "_unread", "call_window", "largest_frame", "window")

    def __init__(self) -> None:
        self._pieces: list[bytes | memoryview] = []
        self._unread = 0  # queued frames other than DATA, which a window bounds
        self._encoder = hpack.Encoder()
        self._table_sizes: set[int] = set()  # that the client has set for the encoder
        self.window = DEFAULT_WINDOW  # bytes of data that the client accepts now, for all calls together,
        self.call_window = DEFAULT_WINDOW  # and for a new call
        self.largest_frame = LARGEST_FRAME

    def drain(self) -> bytes:
        """Returns the queued bytes, and empties the queue."""
        pieces, self._pieces, self._unread = self._pieces, [], 0
        return b"".join(pieces)

    def check_unread(self) -> None:
        """Raises ProtocolError if the client causes more answers (to pings, settings, calls) than it reads."""
        if self._unread > MOST_UNREAD:
            raise ProtocolError(
                Code.ENHANCE_YOUR_CALM, f"expected answers to be read, got {self._unread} unread frames"
            )

    def apply_setting(self, setting: int, value: int) -> None:
        """Applies a setting of the client. The caller changes the windows of present calls."""
        if setting == Setting.HEADER_TABLE_SIZE:
            size = min(value, _TABLE_BYTES)
            self._table_sizes = {min(size, *self._table_sizes), size} if self._table_sizes else {size}
        elif setting == Setting.ENABLE_PUSH:
            if value > 1:
                raise ProtocolError(Code.PROTOCOL_ERROR, f"expected promises to be allowed or not, got {value}")
        elif setting == Setting.INITIAL_WINDOW_SIZE:
            self.call_window = widened(0, value)
        elif setting == Setting.MAX_FRAME_SIZE:
            if value not in _FRAME_SIZES:
                raise ProtocolError(Code.PROTOCOL_ERROR, f"expected frames of 16 KiB to 16 MiB, got {value} bytes")
            self.largest_frame = value

    # -------------------------------------------------------------- frames

    def put_frame(self, kind: int, flags: int, stream_id: int, payload: bytes = b"") -> None:
        """Queues a frame of at most `largest_frame` bytes; stream id 0 is the connection."""
        self._pieces += frames.frame_header(len(payload), kind, flags, stream_id), payload
        self._unread += 1

    def put_data(self, stream_id: int, data: memoryview) -> None:
        """Queues data, for which there is a window, as DATA frames."""
        self.window -= len(data)
        self._pieces += frames.frame_header(len(data), Kind.DATA, Flag.NONE, stream_id), data

    def put_headers(self, stream_id: int, fields: Sequence[tuple[bytes, bytes]], flags: int = Flag.NONE) -> None:
        """Queues headers that fit one frame, after the smallest and last table size since the last (RFC 7541, 4.2)."""
        for size in sorted(self._table_sizes):
            self._encoder.header_table_size = size
        self._table_sizes.clear()
        self.put_frame(Kind.HEADERS, flags | Flag.END_HEADERS, stream_id, self._encoder.encode(fields))

    def put_window_update(self, stream_id: int, more: int) -> None:
        """Lets the client send `more` bytes on a call; stream id 0: on all calls together."""
        self.put_frame(Kind.WINDOW_UPDATE, Flag.NONE, stream_id, _ONE.pack(more))

    def put_reset(self, stream_id: int, code: Code) -> None:
        """Ends a call at once."""
        self.put_frame(Kind.RST_STREAM, Flag.NONE, stream_id, _ONE.pack(code))

    def put_go_away(self, last: int, code: Code) -> None:
        """Announces that no call after stream id `last` was or will be served."""
        self.put_frame(Kind.GOAWAY, Flag.NONE, 0, _TWO.pack(last, code))
