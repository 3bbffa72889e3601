"""One connection as gRPC calls: bytes in, events out; messages in, bytes out. No I/O, no threads.

What a server has to keep of HTTP/2, and what gRPC adds to it: which headers open and end a call, how messages lie in
DATA, what a status is. https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md

    client                              events                   then
    HEADERS (:path)                     Begun(call, path)        open
    DATA …                              Message(call, data)      send, any number of times
    END_STREAM                          HalfClosed(call)         finish
    RST_STREAM, too large a message     Aborted(call)            nothing: the call is gone
    GOAWAY, a breach of HTTP/2          ConnectionLost           nothing: all calls are gone, and nothing more is heard
"""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeAlias
from urllib.parse import quote

from gatewright_executor.grpc import frames
from gatewright_executor.grpc.frames import BreachError, Code, Flag, Frames, Headers, Kind, Setting
from gatewright_executor.grpc.message_framing import CompressedError, Messages, MessageTooLargeError, prefixed
from gatewright_executor.grpc.outbox import DEFAULT_WINDOW, Outbox, widened

WINDOW_BYTES = 16 << 20  # that a client may send ahead, on a call and over all: no frame waits for a window
CREDIT_BYTES = WINDOW_BYTES // 4  # taken in, after which it may send as many more
CALLS_AT_ONCE = 100
LONGEST_STATUS = 1024  # characters of its text, each of which may take twelve bytes
CONTENT_TYPE = b"application/grpc"
_SETTINGS = {Setting.INITIAL_WINDOW_SIZE: WINDOW_BYTES, Setting.MAX_CONCURRENT_STREAMS: CALLS_AT_ONCE}
_OPENING = [(b":status", b"200"), (b"content-type", CONTENT_TYPE)]
log = logging.getLogger(__name__)


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


class _Intake:
    """Bytes that were taken in since the client was given credit: of one call, or by number 0 of all together."""

    __slots__ = ("_number", "_uncredited")

    def __init__(self, number: int) -> None:
        self._number = number
        self._uncredited = 0

    def add(self, size: int, out: Outbox) -> None:
        """Gives the window back. What is taken in is bounded by the protocol above, not here."""
        self._uncredited += size
        if self._uncredited >= CREDIT_BYTES:
            out.put_credit(self._number, self._uncredited)
            self._uncredited = 0


class _Call:
    """What came in and is no whole message yet, what is to go out and had no window yet."""

    __slots__ = ("half_closed", "incoming", "intake", "opened", "outgoing", "status", "window")

    def __init__(self, number: int, limit: int, window: int) -> None:
        self.incoming = Messages(limit)
        self.intake = _Intake(number)
        self.half_closed = False
        self.outgoing: deque[memoryview] = deque()
        self.window = window  # bytes that the client takes in
        self.opened = False
        self.status: list[tuple[bytes, bytes]] | None = None  # that ends the call once all is out


class _FarewellError(Exception):
    """The client goes away."""


class Calls:
    """The server's side of one connection. `limit`: bytes of one message.

    Whoever calls anything sends what `outgoing` gives afterwards. Of a call that is gone, nothing is an error.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._frames = Frames()
        self._headers = Headers()
        self._out = Outbox()
        self._calls: dict[int, _Call] = {}
        self._last = 0  # the number of the call that began last
        self._intake = _Intake(0)
        self._leaving = False
        self._lost = False
        self._out.put(Kind.SETTINGS, Flag.NONE, 0, frames.settings(_SETTINGS))
        self._out.put_credit(0, WINDOW_BYTES - DEFAULT_WINDOW)

    # -------------------------------------------------------------- in

    def receive(self, data: bytes) -> list[Event]:
        """What the client's bytes mean, in order."""
        events: list[Event] = []
        if self._lost:
            return events
        try:
            for frame in self._frames.feed(data):
                events += self._take(*frame)
            self._out.check_unread()
        except BreachError as breach:
            log.error("a client broke the rules of HTTP/2: %s", breach)
            self._out.put_go_away(self._last, breach.code)
            self.lose()
        except _FarewellError:
            self.lose()
        return [*events, ConnectionLost()] if self._lost else events

    def _take(self, kind: int, flags: int, number: int, payload: bytes) -> list[Event]:
        if self._headers.number and kind != Kind.CONTINUATION:
            raise BreachError(Code.PROTOCOL_ERROR, f"expected the rest of the headers of call {self._headers.number}")
        if kind == Kind.DATA:
            return self._take_data(flags, number, payload)
        if kind == Kind.HEADERS:
            if number % 2 == 0:
                raise BreachError(Code.PROTOCOL_ERROR, f"expected a client's number for a call, got {number}")
            return self._take_headers(number, self._headers.begin(number, flags, payload))
        if kind == Kind.CONTINUATION:
            return self._take_headers(number, self._headers.go_on(number, flags, payload))
        if kind == Kind.RST_STREAM:
            return self._take_reset(number, payload)
        return self._take_control(kind, flags, number, payload)

    def _take_control(self, kind: int, flags: int, number: int, payload: bytes) -> list[Event]:
        """Of the connection. From kinds that it leaves out nothing follows."""
        match kind:
            case Kind.WINDOW_UPDATE:
                self._take_credit(number, frames.number_in(payload))
            case Kind.SETTINGS:
                self._take_settings(flags, number, payload)
            case Kind.PING:
                self._take_ping(flags, number, payload)
            case Kind.PUSH_PROMISE:
                raise BreachError(Code.PROTOCOL_ERROR, "expected no promises of a client")
            case Kind.PRIORITY:
                frames.check_priority(number, payload)
            case Kind.GOAWAY:
                frames.check_go_away(number, payload)
                raise _FarewellError
        return []

    def _call(self, number: int) -> _Call | None:
        """None: it has ended here. BreachError: it never began; even numbers would be ours."""
        if number % 2 == 0 or number > self._last:
            raise BreachError(Code.PROTOCOL_ERROR, f"expected a call that has begun, got {number}")
        return self._calls.get(number)

    # -------------------------------------------------------------- of a call

    def _take_headers(self, number: int, fields: list[tuple[bytes, bytes]] | None) -> list[Event]:
        if fields is None:
            return []
        if number <= self._last:  # trailers, whatever they say
            if not self._headers.are_last:
                raise BreachError(Code.PROTOCOL_ERROR, f"expected headers to end call {number}, which has begun")
            return self._half_close(number, self._call(number))
        self._last = number
        events = self._begin(number, dict(fields))
        return events + self._half_close(number, self._calls.get(number)) if self._headers.are_last else events

    def _begin(self, number: int, headers: dict[bytes, bytes]) -> list[Event]:
        if self._leaving or len(self._calls) >= CALLS_AT_ONCE:
            self._out.put_reset(number, Code.REFUSED_STREAM)
        elif headers.get(b":method") != b"POST" or not headers.get(b"content-type", b"").startswith(CONTENT_TYPE):
            self._out.put_headers(number, [(b":status", b"415")], Flag.END_STREAM)
        else:
            self._calls[number] = _Call(number, self._limit, self._out.call_window)
            return [Begun(number, headers.get(b":path", b"").decode("utf-8", "backslashreplace"))]
        return []

    def _take_data(self, flags: int, number: int, payload: bytes) -> list[Event]:
        data = frames.unpadded(flags, payload)  # a breach in a call that has ended, too
        self._intake.add(len(payload), self._out)
        call = self._call(number)
        if call is None:
            return []
        if call.half_closed:
            raise BreachError(Code.STREAM_CLOSED, f"expected nothing after the end of call {number}")
        call.intake.add(len(payload), self._out)
        events = [] if call.status is not None else self._messages(number, call, data)
        return events + self._half_close(number, call) if flags & Flag.END_STREAM else events

    def _messages(self, number: int, call: _Call, data: bytes) -> list[Event]:
        try:
            return [Message(number, message) for message in call.incoming.feed(data)]
        except MessageTooLargeError as error:
            return self._abort(number, call, Status.RESOURCE_EXHAUSTED, str(error))
        except CompressedError:
            return self._abort(number, call, Status.UNIMPLEMENTED, "expected messages that are not compressed")

    def _half_close(self, number: int, call: _Call | None) -> list[Event]:
        if call is None:
            return []
        if call.half_closed:
            raise BreachError(Code.STREAM_CLOSED, f"expected nothing after the end of call {number}")
        call.half_closed = True
        if call.status is not None:
            return []
        if call.incoming.is_between:
            return [HalfClosed(number)]
        return self._abort(number, call, Status.INTERNAL, "expected a whole message before the end of the call")

    def _take_reset(self, number: int, payload: bytes) -> list[Event]:
        frames.number_in(payload)
        if self._call(number) is None:
            return []
        del self._calls[number]
        return [Aborted(number)]

    def _abort(self, number: int, call: _Call, status: Status, why: str) -> list[Event]:
        call.outgoing.clear()
        self.finish(number, status, why)
        return [Aborted(number)]

    # -------------------------------------------------------------- of the connection

    def _take_credit(self, number: int, more: int) -> None:
        if not more:
            raise BreachError(Code.PROTOCOL_ERROR, "expected credit of a byte or more")
        if number == 0:
            self._out.window = widened(self._out.window, more)
            self._pump_all()
        elif call := self._call(number):
            call.window = widened(call.window, more)
            self._pump(number, call)

    def _take_settings(self, flags: int, number: int, payload: bytes) -> None:
        frames.check_of_connection(number)
        if flags & Flag.ACK:
            frames.check_size(payload, 0)
            return
        before = self._out.call_window
        for setting, value in frames.read_settings(payload):
            self._out.obey(setting, value)
        for call in self._calls.values():  # a window may become negative (RFC 9113, 6.9.2)
            call.window = widened(call.window, self._out.call_window - before)
        self._out.put(Kind.SETTINGS, Flag.ACK, 0)
        self._pump_all()

    def _take_ping(self, flags: int, number: int, payload: bytes) -> None:
        frames.check_of_connection(number)
        frames.check_size(payload, 8)
        if not flags & Flag.ACK:
            self._out.put(Kind.PING, Flag.ACK, 0, payload)

    # -------------------------------------------------------------- out

    def send(self, number: int, message: bytes) -> None:
        """One message of the call's answer."""
        call = self._calls.get(number)
        if call is None or call.status is not None:
            return
        if not call.opened:
            call.opened = True
            self._out.put_headers(number, _OPENING)
        call.outgoing.append(memoryview(prefixed(message)))
        self._pump(number, call)

    def finish(self, number: int, status: Status = Status.OK, why: str = "") -> None:
        """Ends the call, after what was sent."""
        call = self._calls.get(number)
        if call is None or call.status is not None:
            return
        call.status = [(b"grpc-status", b"%d" % status)]
        if why:
            text = quote(why[:LONGEST_STATUS], " !#$&'()*+,/:;=?@[]")
            call.status.append((b"grpc-message", text.encode()))
        self._pump(number, call)

    def go_away(self) -> None:
        """Takes no new calls; those that have begun go on."""
        if not self._leaving:
            self._leaving = True
            self._out.put_go_away(self._last, Code.NO_ERROR)

    def lose(self) -> None:
        """The connection is gone, and all calls with it. Nothing is heard or said any more."""
        self._lost = True
        self._calls.clear()

    def outgoing(self) -> bytes:
        """The bytes to send, once."""
        return self._out.take()

    @property
    def is_idle(self) -> bool:
        """Whether no call is under way."""
        return not self._calls

    def _pump_all(self) -> None:
        for number, call in [*self._calls.items()]:
            self._pump(number, call)

    def _pump(self, number: int, call: _Call) -> None:
        """Sends as much of a call as the client's windows allow."""
        out = self._out
        while call.outgoing and (room := min(call.window, out.window, out.largest_frame)) > 0:
            piece = call.outgoing.popleft()
            if len(piece) > room:
                call.outgoing.appendleft(piece[room:])
                piece = piece[:room]
            call.window -= len(piece)
            out.put_data(number, piece)
        if call.status is not None and not call.outgoing:
            self._end(number, call, call.status)

    def _end(self, number: int, call: _Call, status: list[tuple[bytes, bytes]]) -> None:
        self._out.put_headers(number, status if call.opened else _OPENING + status, Flag.END_STREAM)
        del self._calls[number]
        if not call.half_closed:  # the client may still be sending, and is told to stop
            self._out.put_reset(number, Code.NO_ERROR)
