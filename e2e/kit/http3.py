"""HTTP/3 clients, by aioquic: requests and their answers, and frames that no client should send."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from aioquic._buffer import Buffer
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3_ALPN, FrameType, H3Connection
from aioquic.h3.events import DataReceived, H3Event, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import ConnectionTerminated, QuicEvent, StreamDataReceived, StreamReset
from aioquic.tls import SessionTicket

Headers = list[tuple[str, str]]
CONNECT_SECONDS = 5
CONTROL, GOAWAY = 3, bytes([FrameType.GOAWAY])
"""The server's control stream is its first one; Envoy sends that frame by itself."""


class RefusedError(Exception):
    """The connection ended or was never made."""


class UnservedError(RefusedError):
    """The server has rejected the request unprocessed: a client sends it again, on another connection."""


class ResetError(Exception):
    """The exchange ended before its answer did; the code is RFC 9114's."""


@dataclass
class Answer:
    """headers: without trailers. body: the bytes received so far."""

    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    trailers: dict[str, str] = field(default_factory=dict)

    @property
    def status(self) -> int:
        return int(self.headers[":status"])


class Exchange:
    """A request and the events of its answer."""

    def __init__(self, client: Client, stream: int) -> None:
        self._client, self._stream = client, stream
        self._events: asyncio.Queue[H3Event | Exception] = asyncio.Queue()
        self.answer = Answer()
        self.ended = False

    def receive(self, event: H3Event | Exception) -> None:
        self._events.put_nowait(event)

    def send(self, data: bytes, *, end: bool = False) -> None:
        self._client.http.send_data(self._stream, data, end_stream=end)
        self._client.transmit()

    def send_trailers(self, *headers: tuple[str, str]) -> None:
        self._client.http.send_headers(self._stream, _encoded(headers), end_stream=True)
        self._client.transmit()

    def cancel(self) -> None:
        """Cancels the request: H3_REQUEST_CANCELLED, RFC 9114, 8.1."""
        self._client._quic.stop_stream(self._stream, 0x10C)
        self._client._quic.reset_stream(self._stream, 0x10C)
        self._client.transmit()

    async def head(self) -> Answer:
        """Waits for the headers of the answer."""
        while not self.answer.headers:
            await self._next()
        return self.answer

    async def until(self, data: bytes) -> None:
        """Waits until the body contains these bytes."""
        while data not in self.answer.body:
            await self._next()

    async def whole(self) -> Answer:
        while not self.ended:
            await self._next()
        return self.answer

    async def _next(self) -> None:
        event = await asyncio.wait_for(self._events.get(), 30)
        if isinstance(event, Exception):
            raise event
        if isinstance(event, HeadersReceived):
            headers = {name.decode(): value.decode() for name, value in event.headers}
            if self.answer.headers and ":status" not in headers:
                self.answer.trailers = headers
            else:
                self.answer.headers = headers
        elif isinstance(event, DataReceived):
            self.answer.body += event.data
        if isinstance(event, HeadersReceived | DataReceived):
            self.ended = event.stream_ended


async def until(condition: Callable[[], object], seconds: float = 30.0) -> None:
    """Returns once the condition holds."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


class Client(QuicConnectionProtocol):
    """A connection of a client."""

    def __init__(self, quic: QuicConnection) -> None:
        super().__init__(quic)
        self.http = H3Connection(quic)
        self.exchanges: dict[int, Exchange] = {}
        self.closed: ConnectionTerminated | None = None
        self.unserved_from: int | None = None
        """The first stream that the server will not serve, by its GOAWAY (RFC 9114, 5.2); None before."""

    def quic_event_received(self, event: QuicEvent) -> None:
        if isinstance(event, ConnectionTerminated):
            self.closed = event
            for number, exchange in self.exchanges.items():
                unserved = self.unserved_from is not None and number >= self.unserved_from
                error = UnservedError if unserved else RefusedError
                exchange.receive(error(f"{event.error_code:#x} {event.reason_phrase}"))
        if isinstance(event, StreamDataReceived) and event.stream_id == CONTROL and event.data[:1] == GOAWAY:
            self.unserved_from = int(Buffer(data=event.data[2:]).pull_uint_var())  # aioquic ignores it
        if isinstance(event, StreamReset) and event.stream_id in self.exchanges:
            self.exchanges[event.stream_id].receive(ResetError(f"{event.error_code:#x}"))
        for http_event in self.http.handle_event(event):
            stream = getattr(http_event, "stream_id", None)
            if stream in self.exchanges:
                self.exchanges[stream].receive(http_event)

    def vanish(self) -> None:
        """Goes away silently: nothing is sent any more."""
        assert self._transport
        self._transport.abort()

    @property
    def certificate(self) -> str:
        """The serial number of the server's certificate, in hex."""
        certificate = self._quic.tls._peer_certificate
        assert certificate
        return f"{certificate.serial_number:X}"

    @property
    def resumed(self) -> bool:
        """Whether an earlier session was resumed."""
        return bool(self._quic.tls.session_resumed)

    @property
    def streams_allowed(self) -> int:
        """The number of streams that the server has allowed since the start."""
        return int(self._quic._remote_max_streams_bidi)

    def begin(self, headers: Iterable[tuple[str, str]], *, end: bool) -> Exchange:
        """Sends a request with exactly these headers, pseudo-headers among them."""
        stream = self._quic.get_next_available_stream_id()
        exchange = self.exchanges[stream] = Exchange(self, stream)
        self.http.send_headers(stream, _encoded(headers), end_stream=end)
        self.transmit()
        return exchange

    def request(
        self, path: str, *more: tuple[str, str], method: str = "GET", host: str = "127.0.0.1", end: bool = True
    ) -> Exchange:
        return self.begin(
            [(":method", method), (":scheme", "https"), (":authority", host), (":path", path), *more], end=end
        )

    async def get(self, path: str, *more: tuple[str, str], host: str = "127.0.0.1") -> Answer:
        return await self.request(path, *more, host=host).whole()

    async def post(self, path: str, body: bytes, *more: tuple[str, str]) -> Answer:
        exchange = self.request(path, *more, method="POST", end=False)
        exchange.send(body, end=True)
        return await exchange.whole()


def _encoded(headers: Iterable[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in headers]


@asynccontextmanager
async def connected(
    port: int,
    trusted: Path,
    *,
    server_name: str | None = "127.0.0.1",
    source: str = "127.0.0.1",
    certificate: tuple[Path, Path] | None = None,
    seconds: float = CONNECT_SECONDS,
    ticket: SessionTicket | None = None,
    tickets: list[SessionTicket] | None = None,
) -> AsyncIterator[Client]:
    """Opens a connection. Raises `RefusedError`.

    trusted: the authority of the server's certificate. certificate: the client's. source: the address to connect from.
    seconds: the bound of the handshake, which the server may leave unanswered.
    ticket: of the session to resume; tickets: called with each ticket received.
    """
    configuration = QuicConfiguration(is_client=True, alpn_protocols=H3_ALPN, server_name=server_name)
    configuration.load_verify_locations(str(trusted))
    configuration.session_ticket = ticket
    if certificate:
        configuration.load_cert_chain(*certificate)
    here = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    here.bind((source, 0))
    quic = QuicConnection(
        configuration=configuration, session_ticket_handler=None if tickets is None else tickets.append
    )
    loop = asyncio.get_running_loop()
    transport, client = await loop.create_datagram_endpoint(lambda: Client(quic), sock=here)
    try:
        client.connect(("127.0.0.1", port))
        try:
            await asyncio.wait_for(client.wait_connected(), seconds)
        except (ConnectionError, TimeoutError) as error:
            raise RefusedError(str(client.closed or error)) from None
        yield client
    finally:
        client.close()
        transport.close()
