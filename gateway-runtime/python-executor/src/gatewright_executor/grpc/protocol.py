"""The server's side of a gRPC connection: bytes in, events out; messages in, bytes out. No I/O, no threads.

It implements HTTP/2 as far as a server needs it, and gRPC's headers, messages in DATA frames and statuses.
https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md

    client                              events                   then
    HEADERS (:path)                     CallStarted(path)        open
    DATA …                              Message(data)            send, any number of times
    END_STREAM                          HalfClosed               finish
    RST_STREAM, too large a message     Aborted                  nothing: the call has ended
    GOAWAY, a protocol error            ConnectionLost           nothing: all calls have ended, and no more is read

A call is identified by the id of its HTTP/2 stream.
"""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeAlias
from urllib.parse import quote

from gatewright_executor.grpc import frames
from gatewright_executor.grpc.frames import Code, Flag, FrameReader, HeaderReader, Kind, ProtocolError, Setting
from gatewright_executor.grpc.message_framing import CompressedError, MessageReader, MessageTooLargeError, frame_message
from gatewright_executor.grpc.outbox import DEFAULT_WINDOW, Outbox, widened

WINDOW_BYTES = 16 << 20  # that a client may send ahead, on a call and in all: no frame waits for a window
WINDOW_UPDATE_BYTES = WINDOW_BYTES // 4  # received bytes after which the window is widened again
CALLS_AT_ONCE = 100
LONGEST_STATUS = 1024  # characters of a status text, each of which may take twelve bytes
CONTENT_TYPE = b"application/grpc"
_SETTINGS = {Setting.INITIAL_WINDOW_SIZE: WINDOW_BYTES, Setting.MAX_CONCURRENT_STREAMS: CALLS_AT_ONCE}
_OPENING = [(b":status", b"200"), (b"content-type", CONTENT_TYPE)]
log = logging.getLogger(__name__)


class Status(IntEnum):
    """The codes of https://github.com/grpc/grpc/blob/master/doc/statuscodes.md that an executor returns."""

    OK = 0
    INVALID_ARGUMENT = 3
    RESOURCE_EXHAUSTED = 8
    UNIMPLEMENTED = 12
    INTERNAL = 13


@dataclass(frozen=True, slots=True)
class CallStarted:
    """A client has called a method: "/package.Service/Method"."""

    stream_id: int
    path: str


@dataclass(frozen=True, slots=True)
class Message:
    """A message of the client."""

    stream_id: int
    data: bytes


@dataclass(frozen=True, slots=True)
class HalfClosed:
    """The client sends no further messages."""

    stream_id: int


@dataclass(frozen=True, slots=True)
class Aborted:
    """The client does not wait for the call's response any more."""

    stream_id: int


@dataclass(frozen=True, slots=True)
class ConnectionLost:
    """The client does not wait for any response any more."""


Event: TypeAlias = CallStarted | Message | HalfClosed | Aborted | ConnectionLost


class _ReceiveWindow:
    """Counts bytes received since the client's window was last widened: of one call, or, with stream id 0, of all."""

    __slots__ = ("_consumed", "_stream_id")

    def __init__(self, stream_id: int) -> None:
        self._stream_id = stream_id
        self._consumed = 0

    def consume(self, size: int, out: Outbox) -> None:
        """Widens the window by the received bytes. The protocol above bounds what is received."""
        self._consumed += size
        if self._consumed >= WINDOW_UPDATE_BYTES:
            out.put_window_update(self._stream_id, self._consumed)
            self._consumed = 0


class _Call:
    """A call, with its incomplete incoming message and the outgoing bytes that wait for a window."""

    __slots__ = ("half_closed", "incoming", "opened", "outgoing", "received", "status", "window")

    def __init__(self, stream_id: int, limit: int, window: int) -> None:
        self.incoming = MessageReader(limit)
        self.received = _ReceiveWindow(stream_id)
        self.half_closed = False
        self.outgoing: deque[memoryview] = deque()
        self.window = window  # bytes of data that the client accepts
        self.opened = False
        self.status: list[tuple[bytes, bytes]] | None = None  # ends the call once all data is sent


class _GoAwayError(Exception):
    """The client has sent GOAWAY."""


class GrpcConnection:
    """The server's side of one connection. `limit`: the most bytes of a message.

    After each method the caller sends the bytes of `outgoing`. Methods have no effect on calls that have ended.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._frames = FrameReader()
        self._headers = HeaderReader()
        self._out = Outbox()
        self._calls: dict[int, _Call] = {}
        self._last = 0  # the number of the call that began last
        self._window = _ReceiveWindow(0)
        self._leaving = False
        self._lost = False
        self._out.put_frame(Kind.SETTINGS, Flag.NONE, 0, frames.settings(_SETTINGS))
        self._out.put_window_update(0, WINDOW_BYTES - DEFAULT_WINDOW)

    # -------------------------------------------------------------- in

    def receive(self, data: bytes) -> list[Event]:
        """The events in the client's bytes, in order."""
        events: list[Event] = []
        if self._lost:
            return events
        try:
            for frame in self._frames.feed(data):
                events += self._on_frame(*frame)
            self._out.check_unread()
        except ProtocolError as error:
            log.error("a client violated HTTP/2: %s", error)
            self._out.put_go_away(self._last, error.code)
            self.lose()
        except _GoAwayError:
            self.lose()
        return [*events, ConnectionLost()] if self._lost else events

    def _on_frame(self, kind: int, flags: int, stream_id: int, payload: bytes) -> list[Event]:
        if self._headers.stream_id and kind != Kind.CONTINUATION:
            raise ProtocolError(
                Code.PROTOCOL_ERROR, f"expected the rest of the headers of call {self._headers.stream_id}"
            )
        if kind == Kind.DATA:
            return self._on_data(flags, stream_id, payload)
        if kind == Kind.HEADERS:
            if stream_id % 2 == 0:
                raise ProtocolError(Code.PROTOCOL_ERROR, f"expected a client's number for a call, got {stream_id}")
            return self._on_headers(stream_id, self._headers.start_block(stream_id, flags, payload))
        if kind == Kind.CONTINUATION:
            return self._on_headers(stream_id, self._headers.continue_block(stream_id, flags, payload))
        if kind == Kind.RST_STREAM:
            return self._on_reset(stream_id, payload)
        return self._on_control(kind, flags, stream_id, payload)

    def _on_control(self, kind: int, flags: int, stream_id: int, payload: bytes) -> list[Event]:
        """Handles a frame of the connection. Unknown kinds are ignored."""
        match kind:
            case Kind.WINDOW_UPDATE:
                self._on_window_update(stream_id, frames.read_uint31(payload))
            case Kind.SETTINGS:
                self._on_settings(flags, stream_id, payload)
            case Kind.PING:
                self._on_ping(flags, stream_id, payload)
            case Kind.PUSH_PROMISE:
                raise ProtocolError(Code.PROTOCOL_ERROR, "expected no promises of a client")
            case Kind.PRIORITY:
                frames.check_priority(stream_id, payload)
            case Kind.GOAWAY:
                frames.check_go_away(stream_id, payload)
                raise _GoAwayError
        return []

    def _call(self, stream_id: int) -> _Call | None:
        """The call of a stream id; None if it has ended. ProtocolError: it never began. Even ids are the server's."""
        if stream_id % 2 == 0 or stream_id > self._last:
            raise ProtocolError(Code.PROTOCOL_ERROR, f"expected a call that has begun, got {stream_id}")
        return self._calls.get(stream_id)

    # -------------------------------------------------------------- of a call

    def _on_headers(self, stream_id: int, fields: list[tuple[bytes, bytes]] | None) -> list[Event]:
        if fields is None:
            return []
        if stream_id <= self._last:  # trailers, whose content is ignored
            if not self._headers.are_last:
                raise ProtocolError(Code.PROTOCOL_ERROR, f"expected headers to end call {stream_id}, which has begun")
            return self._half_close(stream_id, self._call(stream_id))
        self._last = stream_id
        events = self._start_call(stream_id, dict(fields))
        return events + self._half_close(stream_id, self._calls.get(stream_id)) if self._headers.are_last else events

    def _start_call(self, stream_id: int, headers: dict[bytes, bytes]) -> list[Event]:
        if self._leaving or len(self._calls) >= CALLS_AT_ONCE:
            self._out.put_reset(stream_id, Code.REFUSED_STREAM)
        elif headers.get(b":method") != b"POST" or not headers.get(b"content-type", b"").startswith(CONTENT_TYPE):
            self._out.put_headers(stream_id, [(b":status", b"415")], Flag.END_STREAM)
        else:
            self._calls[stream_id] = _Call(stream_id, self._limit, self._out.call_window)
            return [CallStarted(stream_id, headers.get(b":path", b"").decode("utf-8", "backslashreplace"))]
        return []

    def _on_data(self, flags: int, stream_id: int, payload: bytes) -> list[Event]:
        data = frames.unpadded(flags, payload)  # also checks the padding for a call that has ended
        self._window.consume(len(payload), self._out)
        call = self._call(stream_id)
        if call is None:
            return []
        if call.half_closed:
            raise ProtocolError(Code.STREAM_CLOSED, f"expected nothing after the end of call {stream_id}")
        call.received.consume(len(payload), self._out)
        events = [] if call.status is not None else self._messages(stream_id, call, data)
        return events + self._half_close(stream_id, call) if flags & Flag.END_STREAM else events

    def _messages(self, stream_id: int, call: _Call, data: bytes) -> list[Event]:
        try:
            return [Message(stream_id, message) for message in call.incoming.feed(data)]
        except MessageTooLargeError as error:
            return self._abort(stream_id, call, Status.RESOURCE_EXHAUSTED, str(error))
        except CompressedError:
            return self._abort(stream_id, call, Status.UNIMPLEMENTED, "expected messages that are not compressed")

    def _half_close(self, stream_id: int, call: _Call | None) -> list[Event]:
        if call is None:
            return []
        if call.half_closed:
            raise ProtocolError(Code.STREAM_CLOSED, f"expected nothing after the end of call {stream_id}")
        call.half_closed = True
        if call.status is not None:
            return []
        if call.incoming.is_between:
            return [HalfClosed(stream_id)]
        return self._abort(stream_id, call, Status.INTERNAL, "expected a whole message before the end of the call")

    def _on_reset(self, stream_id: int, payload: bytes) -> list[Event]:
        frames.read_uint31(payload)
        if self._call(stream_id) is None:
            return []
        del self._calls[stream_id]
        return [Aborted(stream_id)]

    def _abort(self, stream_id: int, call: _Call, status: Status, why: str) -> list[Event]:
        call.outgoing.clear()
        self.finish(stream_id, status, why)
        return [Aborted(stream_id)]

    # -------------------------------------------------------------- of the connection

    def _on_window_update(self, stream_id: int, more: int) -> None:
        if not more:
            raise ProtocolError(Code.PROTOCOL_ERROR, "expected a window that grows by a byte or more")
        if stream_id == 0:
            self._out.window = widened(self._out.window, more)
            self._send_all_allowed()
        elif call := self._call(stream_id):
            call.window = widened(call.window, more)
            self._send_allowed(stream_id, call)

    def _on_settings(self, flags: int, stream_id: int, payload: bytes) -> None:
        frames.check_of_connection(stream_id)
        if flags & Flag.ACK:
            frames.check_size(payload, 0)
            return
        before = self._out.call_window
        for setting, value in frames.read_settings(payload):
            self._out.apply_setting(setting, value)
        for call in self._calls.values():  # a window may become negative (RFC 9113, 6.9.2)
            call.window = widened(call.window, self._out.call_window - before)
        self._out.put_frame(Kind.SETTINGS, Flag.ACK, 0)
        self._send_all_allowed()

    def _on_ping(self, flags: int, stream_id: int, payload: bytes) -> None:
        frames.check_of_connection(stream_id)
        frames.check_size(payload, 8)
        if not flags & Flag.ACK:
            self._out.put_frame(Kind.PING, Flag.ACK, 0, payload)

    # -------------------------------------------------------------- out

    def send(self, stream_id: int, message: bytes) -> None:
        """Sends a message of the call's response."""
        call = self._calls.get(stream_id)
        if call is None or call.status is not None:
            return
        if not call.opened:
            call.opened = True
            self._out.put_headers(stream_id, _OPENING)
        call.outgoing.append(memoryview(frame_message(message)))
        self._send_allowed(stream_id, call)

    def finish(self, stream_id: int, status: Status = Status.OK, why: str = "") -> None:
        """Ends the call after the messages that were sent."""
        call = self._calls.get(stream_id)
        if call is None or call.status is not None:
            return
        call.status = [(b"grpc-status", b"%d" % status)]
        if why:
            text = quote(why[:LONGEST_STATUS], " !#$&'()*+,/:;=?@[]")
            call.status.append((b"grpc-message", text.encode()))
        self._send_allowed(stream_id, call)

    def go_away(self) -> None:
        """Accepts no new calls; present ones go on."""
        if not self._leaving:
            self._leaving = True
            self._out.put_go_away(self._last, Code.NO_ERROR)

    def lose(self) -> None:
        """Ends the connection and all its calls. Nothing is received or sent any more."""
        self._lost = True
        self._calls.clear()

    def outgoing(self) -> bytes:
        """Returns the bytes to send, and forgets them."""
        return self._out.drain()

    def has_call(self, stream_id: int) -> bool:
        """Whether the call is under way."""
        return stream_id in self._calls

    @property
    def is_idle(self) -> bool:
        """Whether no call is under way."""
        return not self._calls

    def _send_all_allowed(self) -> None:
        for stream_id, call in [*self._calls.items()]:
            self._send_allowed(stream_id, call)

    def _send_allowed(self, stream_id: int, call: _Call) -> None:
        """Sends as much of a call's data as the client's windows allow."""
        out = self._out
        while call.outgoing and (room := min(call.window, out.window, out.largest_frame)) > 0:
            piece = call.outgoing.popleft()
            if len(piece) > room:
                call.outgoing.appendleft(piece[room:])
                piece = piece[:room]
            call.window -= len(piece)
            out.put_data(stream_id, piece)
        if call.status is not None and not call.outgoing:
            self._end_call(stream_id, call, call.status)

    def _end_call(self, stream_id: int, call: _Call, status: list[tuple[bytes, bytes]]) -> None:
        self._out.put_headers(stream_id, status if call.opened else _OPENING + status, Flag.END_STREAM)
        del self._calls[stream_id]
        if not call.half_closed:  # the client may still be sending: the reset stops it
            self._out.put_reset(stream_id, Code.NO_ERROR)
