"""One connection as gRPC calls: bytes in, events out; messages in, bytes out. No I/O, no threads.

HTTP/2 is h2's; this is what gRPC adds to it: which headers open and end a call, how messages lie in DATA, what a status
is. https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md

    client                              events                   then
    HEADERS (:path)                     Begun(call, path)        open
    DATA …                              Message(call, data)      send, any number of times
    END_STREAM                          HalfClosed(call)         finish
    RST_STREAM, too large a message     Aborted(call)            nothing: the call is gone
    GOAWAY, a violation of HTTP/2       ConnectionLost           nothing: all calls are gone
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeAlias
from urllib.parse import quote

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    RemoteSettingsChanged,
    RequestReceived,
    StreamEnded,
    StreamReset,
    WindowUpdated,
)
from h2.events import Event as Http2Event
from h2.exceptions import ProtocolError, StreamClosedError
from h2.settings import SettingCodes, Settings
from hyperframe.frame import DataFrame, GoAwayFrame

from gatewright_executor.prefixed import CompressedError, Messages, MessageTooLargeError, prefixed

WINDOW_BYTES = 16 << 20  # that a client may send ahead, on a call and over all: no frame waits for a window
DEFAULT_WINDOW_BYTES = (1 << 16) - 1  # RFC 9113, 6.9.2
FRAME_BYTES = 1 << 20  # of one DATA frame, where the client cuts so large
CALLS_AT_ONCE = 100
CONTENT_TYPE = b"application/grpc"

# h2 makes the text of each frame it receives, logged or not; that of DATA held all of its bytes in hex.
DataFrame._body_repr = lambda self: f"{self.body_len} bytes"  # type: ignore[method-assign]


class Status(IntEnum):
    """The codes of https://github.com/grpc/grpc/blob/master/doc/statuscodes.md that an executor gives."""

    OK = 0
    RESOURCE_EXHAUSTED = 8
    UNIMPLEMENTED = 12
    INTERNAL = 13


@dataclass(frozen=True, slots=True)
class Begun:
    """A call of a method: "/package.Service/Method"."""

    call: int
    path: str


@dataclass(frozen=True, slots=True)
class Message:
    call: int
    data: bytes


@dataclass(frozen=True, slots=True)
class HalfClosed:
    """No further messages come."""

    call: int


@dataclass(frozen=True, slots=True)
class Aborted:
    """Nobody waits for the call's answer any more."""

    call: int


@dataclass(frozen=True, slots=True)
class ConnectionLost:
    """Nobody waits for anything."""


Event: TypeAlias = Begun | Message | HalfClosed | Aborted | ConnectionLost


class _Call:
    """What came in and is no whole message yet, what is to go out and had no window yet."""

    __slots__ = ("half_closed", "incoming", "opened", "outgoing", "status")

    def __init__(self, limit: int) -> None:
        self.incoming = Messages(limit)
        self.outgoing: deque[memoryview] = deque()
        self.opened = False
        self.half_closed = False
        self.status: list[tuple[bytes, bytes]] | None = None  # that ends the call once all is out


class Calls:
    """The server's side of one connection. `limit`: bytes of one message.

    Whoever calls anything sends what `outgoing` gives afterwards. Of a call that is gone, nothing is an error.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._http = H2Connection(H2Configuration(client_side=False, header_encoding=None))
        self._http.local_settings = Settings(
            client=False,
            initial_values={
                SettingCodes.INITIAL_WINDOW_SIZE: WINDOW_BYTES,
                SettingCodes.MAX_FRAME_SIZE: FRAME_BYTES,
                SettingCodes.MAX_CONCURRENT_STREAMS: CALLS_AT_ONCE,
            },
        )
        self._http.max_inbound_frame_size = FRAME_BYTES
        self._http.initiate_connection()
        self._http.increment_flow_control_window(WINDOW_BYTES - DEFAULT_WINDOW_BYTES)
        self._calls: dict[int, _Call] = {}
        self._before = b""  # of what h2 has, and is to go out first
        self._leaving = False

    # -------------------------------------------------------------- in

    def receive(self, data: bytes) -> list[Event]:
        """What the client's bytes mean, in order."""
        try:
            received = self._http.receive_data(data)
        except ProtocolError:  # h2 has the GOAWAY that says so ready
            return [ConnectionLost()]
        return [event for one in received for event in self._events(one)]

    def _events(self, event: Http2Event) -> Iterator[Event]:
        match event:
            case DataReceived():
                yield from self._data(event)
            case RequestReceived():
                yield from self._begin(event)
            case StreamEnded():
                yield from self._half_close(event.stream_id)
            case StreamReset():
                yield from self._forget(event.stream_id)
            case WindowUpdated() | RemoteSettingsChanged():
                self._pump_all()
            case ConnectionTerminated():
                yield ConnectionLost()

    def _begin(self, event: RequestReceived) -> Iterator[Event]:
        call, headers = event.stream_id, dict(event.headers)
        if self._leaving:
            self._http.reset_stream(call, ErrorCodes.REFUSED_STREAM)
        elif headers.get(b":method") != b"POST" or not headers.get(b"content-type", b"").startswith(CONTENT_TYPE):
            self._http.send_headers(call, [(b":status", b"415")], end_stream=True)
        else:
            self._calls[call] = _Call(self._limit)
            yield Begun(call, headers[b":path"].decode("utf-8", "backslashreplace"))

    def _data(self, event: DataReceived) -> Iterator[Event]:
        number = event.stream_id
        self._reopen(number, event.flow_controlled_length)
        call = self._calls.get(number)
        if call is None or call.status is not None:
            return
        try:
            for message in call.incoming.feed(event.data):
                yield Message(number, message)
        except MessageTooLargeError as error:
            yield from self._abort(number, Status.RESOURCE_EXHAUSTED, str(error))
        except CompressedError:
            yield from self._abort(number, Status.UNIMPLEMENTED, "expected messages that are not compressed")

    def _reopen(self, number: int, length: int) -> None:
        """Gives the window back. What is taken in is bounded by the protocol above, not here."""
        if length:
            self._http.acknowledge_received_data(length, number)

    def _half_close(self, number: int) -> Iterator[Event]:
        call = self._calls.get(number)
        if call is None:
            return
        call.half_closed = True
        if call.status is not None:
            return
        if call.incoming.is_between:
            yield HalfClosed(number)
        else:
            yield from self._abort(number, Status.INTERNAL, "expected a whole message before the end of the call")

    def _forget(self, number: int) -> Iterator[Event]:
        if self._calls.pop(number, None) is not None:
            yield Aborted(number)

    def _abort(self, number: int, status: Status, why: str) -> Iterator[Event]:
        self._calls[number].outgoing.clear()
        self.finish(number, status, why)
        yield Aborted(number)

    # -------------------------------------------------------------- out

    def send(self, number: int, message: bytes) -> None:
        """One message of the call's answer."""
        call = self._calls.get(number)
        if call is None or call.status is not None:
            return
        if not call.opened:
            call.opened = True
            self._http.send_headers(number, [(b":status", b"200"), (b"content-type", CONTENT_TYPE)])
        call.outgoing.append(memoryview(prefixed(message)))
        self._pump(number)

    def finish(self, number: int, status: Status = Status.OK, why: str = "") -> None:
        """Ends the call, after what was sent."""
        call = self._calls.get(number)
        if call is None or call.status is not None:
            return
        call.status = [(b"grpc-status", b"%d" % status)]
        if why:
            call.status.append((b"grpc-message", quote(why, " !#$&'()*+,/:;=?@[]").encode()))
        self._pump(number)

    def go_away(self) -> None:
        """Takes no new calls; those that have begun go on. h2's own GOAWAY would end them."""
        if not self._leaving:
            self._leaving = True
            frame = GoAwayFrame(0, last_stream_id=self._http.highest_inbound_stream_id)
            self._before = self.outgoing() + frame.serialize()

    def lose(self) -> None:
        """The connection is gone, and all calls with it."""
        self._calls.clear()

    def outgoing(self) -> bytes:
        """The bytes to send, once."""
        before, self._before = self._before, b""
        return before + self._http.data_to_send()

    @property
    def is_idle(self) -> bool:
        """Whether no call is under way."""
        return not self._calls

    def _pump_all(self) -> None:
        for number in [*self._calls]:
            self._pump(number)

    def _pump(self, number: int) -> None:
        """Sends as much of a call as the client's windows allow."""
        call = self._calls[number]
        try:
            while call.outgoing and (room := self._room(number)):
                piece = call.outgoing.popleft()
                if len(piece) > room:
                    call.outgoing.appendleft(piece[room:])
                self._http.send_data(number, piece[:room])
            if call.status is not None and not call.outgoing:
                self._end(number, call)
        except (ProtocolError, StreamClosedError):  # the client has left meanwhile; its event says so
            call.outgoing.clear()

    def _room(self, number: int) -> int:
        return max(0, min(self._http.local_flow_control_window(number), self._http.max_outbound_frame_size))

    def _end(self, number: int, call: _Call) -> None:
        assert call.status is not None
        opening = [] if call.opened else [(b":status", b"200"), (b"content-type", CONTENT_TYPE)]
        self._http.send_headers(number, opening + call.status, end_stream=True)
        del self._calls[number]
        if not call.half_closed:  # the client may still be sending, and is told to stop
            self._http.reset_stream(number, ErrorCodes.NO_ERROR)
