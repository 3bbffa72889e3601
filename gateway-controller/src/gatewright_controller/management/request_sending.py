"""One HTTP/1.1 request to a listener of the gateway, and its answer: bounded in bytes and time, no redirect followed.

h11 says what may be sent and what has come; here are the connection and the bounds.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import AsyncIterator, Sequence

import h11
import msgspec

from gatewright_controller.gateway.gateway_listeners import ReachableListener

HEAD_BYTES = 512 * 1024
PIECE_BYTES = 64 * 1024
CLOSE_SECONDS = 1.0

Headers = Sequence[tuple[str, str]]


class AnswerLimits(msgspec.Struct, frozen=True):
    """Of an answer's body."""

    kept_bytes: int = 1024 * 1024
    """What comes after them is counted."""
    read_bytes: int = 16 * 1024 * 1024
    """Then the connection is closed."""


class SendError(Exception):
    """There is no answer; the message says why. timed_out: it took too long."""

    def __init__(self, message: str, *, timed_out: bool = False) -> None:
        super().__init__(message)
        self.timed_out = timed_out


class ComposedRequest(msgspec.Struct, frozen=True):
    """What goes out. host: what the Host header says, and for TLS the server name (SNI), unless it is an address.

    headers have neither Host nor Content-Length: both are made here, and nothing else is.
    """

    method: str
    path: str
    host: str
    headers: Headers = ()
    body: bytes = b""


class ReceivedAnswer(msgspec.Struct):
    """What came. names of headers in lower case, all in wire order; size: bytes of the body, of which `kept_bytes` are
    kept; error: why the body has not come to its end.
    """

    status: int
    protocol: str
    headers: Headers
    body: bytearray = msgspec.field(default_factory=bytearray)
    size: int = 0
    trailers: Headers = ()
    duration_ms: float = 0.0
    error: str = ""


class GatewayConnection:
    """An open connection to a listener. client: its own end, IP:PORT, by which the exchange is known in recordings."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, limits: AnswerLimits) -> None:
        self._reader, self._writer, self._limits = reader, writer, limits
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_BYTES)
        host, port = writer.get_extra_info("sockname")[:2]
        self.client = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    async def exchange(self, request: ComposedRequest, seconds: float) -> ReceivedAnswer:
        """Sends it and reads the answer, for so many seconds. What has come of a body until then is an answer, with
        its `error`. Raises `SendError`, and `h11.LocalProtocolError` before anything is sent where it may not be.
        """
        began = time.monotonic()
        outgoing = self._encoded(request)
        answer: ReceivedAnswer | None = None
        error = ""
        try:
            async with asyncio.timeout(seconds):
                sending = asyncio.create_task(self._write(outgoing))
                try:
                    answer = await self._head()
                    await self._body(answer)
                finally:
                    sending.cancel()
        except TimeoutError:
            error = f"the answer had not {'ended' if answer else 'begun'} after {seconds:g} s"
            if answer is None:
                raise SendError(error, timed_out=True) from None
        except (OSError, h11.RemoteProtocolError) as failure:
            error = _error_text(failure)
            if answer is None:
                raise SendError(f"the connection ended before an answer had begun ({error})") from None
        answer.error = answer.error or error
        answer.duration_ms = (time.monotonic() - began) * 1000
        return answer

    def _encoded(self, request: ComposedRequest) -> bytes:
        headers = [("host", request.host), *request.headers]
        if request.body or request.method not in ("GET", "HEAD", "OPTIONS"):
            headers.append(("content-length", str(len(request.body))))
        head = h11.Request(
            method=request.method,
            target=request.path,
            headers=[(name.encode("ascii"), value.encode("latin-1")) for name, value in headers],
        )
        events = (head, *([h11.Data(data=request.body)] if request.body else []), h11.EndOfMessage())
        return b"".join(self._http.send(event) or b"" for event in events)

    async def _write(self, outgoing: bytes) -> None:
        """Beside the reading: an answer may come before the request has gone."""
        with contextlib.suppress(OSError):  # reading says it, too, or has the answer that came before
            self._writer.write(outgoing)
            await self._writer.drain()

    async def _head(self) -> ReceivedAnswer:
        while True:
            event = await self._event()
            if isinstance(event, h11.Response):
                protocol = f"HTTP/{event.http_version.decode()}"
                return ReceivedAnswer(event.status_code, protocol, _texts(event.headers))
            if not isinstance(event, h11.InformationalResponse):
                raise h11.RemoteProtocolError("what came is no answer")

    async def _body(self, answer: ReceivedAnswer) -> None:
        while not isinstance(event := await self._event(), h11.EndOfMessage):
            assert isinstance(event, h11.Data), event
            answer.body += event.data[: self._limits.kept_bytes - len(answer.body)]
            answer.size += len(event.data)
            if answer.size > self._limits.read_bytes:
                answer.error = f"more than {self._limits.read_bytes} bytes came; the rest was not read"
                return
        answer.trailers = _texts(event.headers)

    async def _event(self) -> h11.Event:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            self._http.receive_data(await self._reader.read(PIECE_BYTES))
        if isinstance(event, h11.Event):
            return event
        raise h11.RemoteProtocolError("the connection was closed")

    async def close(self) -> None:
        """At once, whatever is under way."""
        self._writer.transport.abort()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._writer.wait_closed()


@contextlib.asynccontextmanager
async def connected(
    listener: ReachableListener, host: str, seconds: float, limits: AnswerLimits
) -> AsyncIterator[GatewayConnection]:
    """A connection to it for a request to `host`. Raises `SendError`."""
    tls, name = (_tls(), _server_name(host)) if listener.tls else (None, None)
    try:
        async with asyncio.timeout(seconds):
            reader, writer = await asyncio.open_connection(
                listener.address, listener.port, ssl=tls, server_hostname=name
            )
    except TimeoutError:
        raise SendError(f"no connection to {listener.at} within {seconds:g} s", timed_out=True) from None
    except (OSError, ssl.SSLError) as error:
        raise SendError(f"no connection to {listener.at} ({_error_text(error)})") from None
    connection = GatewayConnection(reader, writer, limits)
    try:
        yield connection
    finally:
        await connection.close()


def _tls() -> ssl.SSLContext:
    """The gateway's own listener, at an address of this machine: whatever its certificate is, nothing is in between."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    return context


def _server_name(host: str) -> str:
    """Without the port. Of an address nothing is sent: TLS has no name of it (RFC 6066, 3)."""
    return host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]


def _texts(headers: Sequence[tuple[bytes, bytes]]) -> Headers:
    return [(name.decode("ascii").lower(), value.decode("latin-1")) for name, value in headers]


def _error_text(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or str(error)).replace("_", " ").lower()
    if isinstance(error, OSError):
        return error.strerror or "the connection was closed"
    return str(error)
