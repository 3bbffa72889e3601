"""Both ends of an HTTP exchange, which a test leads step by step: HTTP/1.1 and HTTP/2 alike.

A test is client and upstream at once. It sends as the client, and reads as the upstream what the gateway made of it:

    sent = await client.ask("POST", "/a/x", length=3)
    request = await upstream.next_request()
    await request.answer(200)
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import h2.config
import h2.connection
import h2.events
import h11

from e2e.kit.connections import Connections

SECONDS = 15.0
Headers = Sequence[tuple[str, str]]
Version = Literal["HTTP/1.1", "HTTP/2"]
Kind = Literal["request", "informational", "response", "data", "end", "reset"]


async def arrives(awaitable: Awaitable[object], seconds: float = SECONDS) -> bool:
    """Whether the awaitable finishes within the time."""
    try:
        async with asyncio.timeout(seconds):
            await awaitable
    except TimeoutError:
        return False
    return True


@dataclass(frozen=True)
class PeerEvent:
    """An event of the other end's message. An "end" has the trailers as headers."""

    kind: Kind
    status: int = 0
    method: str = ""
    target: str = ""
    headers: Headers = ()
    data: bytes = b""
    scheme: str = ""

    def values(self, name: str) -> list[str]:
        """The values of the header, in order."""
        return [value for key, value in self.headers if key == name]

    def value(self, name: str) -> str | None:
        """The only value of the header; None if it is not there."""
        values = self.values(name)
        assert len(values) <= 1, f"{name} stands {len(values)} times: {values}"
        return values[0] if values else None


class _Sender(Protocol):
    async def head(self, headers: Headers, *, last: bool, informational: bool) -> None: ...
    async def data(self, data: bytes) -> None: ...
    async def end(self, trailers: Headers) -> None: ...
    def reset(self) -> None: ...


class Exchange:
    """One request with its answer, as one end sees it."""

    def __init__(self, sender: _Sender) -> None:
        self._sender = sender
        self._events: asyncio.Queue[PeerEvent] = asyncio.Queue()

    def receive(self, event: PeerEvent) -> None:
        """Takes an event from the connection."""
        self._events.put_nowait(event)

    async def next(self) -> PeerEvent:
        """The next event; fails if none comes in time."""
        async with asyncio.timeout(SECONDS):
            return await self._events.get()

    async def expect(self, kind: Kind) -> PeerEvent:
        """The next event, which must be of this kind."""
        event = await self.next()
        assert event.kind == kind, f"expected {kind}, got {event}"
        return event

    async def read(self, size: int) -> bytes:
        """Reads so many bytes of the body, from as many pieces as they come in."""
        data = b""
        while len(data) < size:
            data += (await self.expect("data")).data
        return data

    async def rest(self) -> tuple[bytes, list[tuple[str, str]]]:
        """Reads the body until its end, and the trailers."""
        body = b""
        while (event := await self.next()).kind == "data":
            body += event.data
        assert event.kind == "end", f"expected the end of a body, got {event} behind {len(body)} bytes"
        return body, list(event.headers)

    async def answer(self, status: int, headers: Headers = (), *, last: bool = False) -> None:
        """Sends the head of the answer, as the upstream."""
        await self._sender.head([(":status", str(status)), *headers], last=last, informational=False)

    async def inform(self, status: int, headers: Headers = ()) -> None:
        """Sends an informational answer (1xx), as the upstream."""
        await self._sender.head([(":status", str(status)), *headers], last=False, informational=True)

    async def ask(self, method: str, target: str, headers: Headers = (), *, last: bool = False) -> None:
        """Sends the head of the request, as the client."""
        head = [(":method", method), (":path", target), (":scheme", "http"), (":authority", "test.local")]
        pseudo_first = sorted([*head, *headers], key=lambda pair: not pair[0].startswith(":"))
        await self._sender.head(pseudo_first, last=last, informational=False)

    async def send(self, data: bytes) -> None:
        """Sends a piece of the body; waits for room."""
        async with asyncio.timeout(SECONDS):
            await self._sender.data(data)

    async def end(self, trailers: Headers = ()) -> None:
        """Ends the body."""
        await self._sender.end(trailers)

    def reset(self) -> None:
        """Breaks off: with HTTP/1.1 the connection, with HTTP/2 the stream."""
        self._sender.reset()


Begun = Callable[[str, Exchange], None]
"""Called with each exchange that the other end begins, by its target."""

# ---------------------------------------------------------------- HTTP/1.1


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class _Http1:
    """A connection: one exchange after the other."""

    def __init__(self, streams: Streams, role: type[h11.CLIENT | h11.SERVER], begun: Begun) -> None:
        self._reader, self._writer = streams
        self._role = role
        self._h11 = h11.Connection(role, max_incomplete_event_size=1 << 20)
        self._begun = begun
        self.exchange = Exchange(self)

    async def head(self, headers: Headers, *, last: bool, informational: bool) -> None:
        pseudo = {name: value for name, value in headers if name.startswith(":")}
        plain = [(name, value) for name, value in headers if not name.startswith(":")]
        if self._role is h11.CLIENT:
            host = [("host", pseudo[":authority"])]
            self._send(h11.Request(method=pseudo[":method"], target=pseudo[":path"], headers=[*host, *plain]))
        elif informational:
            self._send(h11.InformationalResponse(status_code=int(pseudo[":status"]), headers=plain))
        else:
            self._send(h11.Response(status_code=int(pseudo[":status"]), headers=plain))
        if last:
            await self.end(())
        await self._writer.drain()

    async def data(self, data: bytes) -> None:
        self._send(h11.Data(data=data))
        await self._writer.drain()

    async def end(self, trailers: Headers) -> None:
        self._send(h11.EndOfMessage(headers=list(trailers)))
        await self._writer.drain()
        self._start_next()

    def reset(self) -> None:
        self._writer.transport.abort()

    def _send(self, event: h11.Event) -> None:
        self._writer.write(self._h11.send(event) or b"")

    def _start_next(self) -> None:
        if self._h11.our_state is h11.DONE and self._h11.their_state is h11.DONE:
            self._h11.start_next_cycle()
            self.exchange = Exchange(self)
            self._handle_all()

    async def run(self) -> None:
        with contextlib.suppress(ConnectionError, h11.RemoteProtocolError):
            while data := await self._reader.read(1 << 16):
                self._h11.receive_data(data)
                self._handle_all()
            self._h11.receive_data(b"")
            self._handle_all()
        self.exchange.receive(PeerEvent("reset"))

    def _handle_all(self) -> None:
        while (event := self._h11.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
            if isinstance(event, h11.ConnectionClosed):
                return
            self._handle(event)

    def _handle(self, event: object) -> None:
        exchange = self.exchange
        if isinstance(event, h11.Request):
            if event.http_version != b"1.1":  # the preface of HTTP/2 parses as a request
                raise h11.RemoteProtocolError("expected HTTP/1.1")
            self._begun(event.target.decode(), exchange)
            headers = _text(event.headers)
            exchange.receive(PeerEvent("request", 0, event.method.decode(), event.target.decode(), headers))
        elif isinstance(event, h11.InformationalResponse):
            exchange.receive(PeerEvent("informational", event.status_code, headers=_text(event.headers)))
        elif isinstance(event, h11.Response):
            exchange.receive(PeerEvent("response", event.status_code, headers=_text(event.headers)))
        elif isinstance(event, h11.Data):
            exchange.receive(PeerEvent("data", data=bytes(event.data)))
        elif isinstance(event, h11.EndOfMessage):
            exchange.receive(PeerEvent("end", headers=_text(event.headers)))
            self._start_next()


def _text(headers: object) -> Headers:
    return [(name.decode(), value.decode("latin-1")) for name, value in headers]  # type: ignore[attr-defined]


# ---------------------------------------------------------------- HTTP/2


class _Stream:
    """Sends an exchange's messages on its stream."""

    def __init__(self, connection: _Http2, number: int) -> None:
        self._connection, self._number = connection, number

    async def head(self, headers: Headers, *, last: bool, informational: bool) -> None:
        del informational  # h2 sees it by the status
        await self._connection.headers(self._number, headers, last=last)

    async def data(self, data: bytes) -> None:
        await self._connection.data(self._number, data)

    async def end(self, trailers: Headers) -> None:
        await self._connection.end(self._number, trailers)

    def reset(self) -> None:
        self._connection.reset(self._number)


class _Http2:
    """A connection with its streams."""

    def __init__(self, streams: Streams, *, client: bool, begun: Begun) -> None:
        self._reader, self._writer = streams
        self._h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=client, header_encoding="latin-1"))
        self._begun = begun
        self._exchanges: dict[int, Exchange] = {}
        self._trailed: set[int] = set()
        self._room = asyncio.Event()
        self.settled = asyncio.Event()
        if not client:
            self._h2.local_settings.enable_connect_protocol = 1  # WebSockets: RFC 8441
        self._h2.initiate_connection()
        self._flush()

    def new_exchange(self) -> Exchange:
        number = self._h2.get_next_available_stream_id()
        self._exchanges[number] = Exchange(_Stream(self, number))
        return self._exchanges[number]

    async def headers(self, number: int, headers: Headers, *, last: bool) -> None:
        self._h2.send_headers(number, list(headers), end_stream=last)
        self._flush()

    async def data(self, number: int, data: bytes) -> None:
        while data:
            self._room.clear()
            size = min(len(data), self._h2.local_flow_control_window(number), self._h2.max_outbound_frame_size)
            if size <= 0:
                await self._room.wait()
                continue
            self._h2.send_data(number, data[:size])
            self._flush()
            await self._writer.drain()
            data = data[size:]

    async def end(self, number: int, trailers: Headers) -> None:
        if trailers:
            self._h2.send_headers(number, list(trailers), end_stream=True)
        else:
            self._h2.end_stream(number)
        self._flush()

    def reset(self, number: int) -> None:
        self._h2.reset_stream(number)
        self._flush()

    def _flush(self) -> None:
        self._writer.write(self._h2.data_to_send())

    async def run(self) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await self._reader.read(1 << 16):
                for event in self._h2.receive_data(data):
                    self._handle(event)
                self._flush()
        for exchange in self._exchanges.values():
            exchange.receive(PeerEvent("reset"))

    def _handle(self, event: object) -> None:
        self._room.set()
        if isinstance(event, h2.events.RemoteSettingsChanged):
            self.settled.set()
        if isinstance(event, h2.events.RequestReceived):
            exchange = self._exchanges[event.stream_id] = Exchange(_Stream(self, event.stream_id))
            self._begun(_split(event.headers)[0][":path"], exchange)
        message = self._to_peer_event(event)
        if message:
            self._exchanges[event.stream_id].receive(message)  # type: ignore[attr-defined]

    def _to_peer_event(self, event: object) -> PeerEvent | None:
        if isinstance(event, h2.events.RequestReceived):
            pseudo, plain = _split(event.headers)
            return PeerEvent("request", 0, pseudo[":method"], pseudo[":path"], plain, scheme=pseudo[":scheme"])
        if isinstance(event, h2.events.InformationalResponseReceived):
            pseudo, plain = _split(event.headers)
            return PeerEvent("informational", int(pseudo[":status"]), headers=plain)
        if isinstance(event, h2.events.ResponseReceived):
            pseudo, plain = _split(event.headers)
            return PeerEvent("response", int(pseudo[":status"]), headers=plain)
        if isinstance(event, h2.events.DataReceived):
            if event.flow_controlled_length:
                self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            return PeerEvent("data", data=event.data) if event.data else None
        if isinstance(event, h2.events.StreamReset):
            return PeerEvent("reset")
        return self._ended(event)

    def _ended(self, event: object) -> PeerEvent | None:
        """Trailers end the message; h2 reports the end of the stream behind them all the same."""
        if isinstance(event, h2.events.TrailersReceived):
            self._trailed.add(event.stream_id)
            return PeerEvent("end", headers=_split(event.headers)[1])
        if isinstance(event, h2.events.StreamEnded) and event.stream_id not in self._trailed:
            return PeerEvent("end")
        return None


def _split(headers: object) -> tuple[dict[str, str], Headers]:
    pairs = [(str(name), str(value)) for name, value in headers]  # type: ignore[attr-defined]
    return dict(pairs), [pair for pair in pairs if not pair[0].startswith(":")]


# ---------------------------------------------------------------- the two ends


class Upstream:
    """Accepts the gateway's connections, with TLS if it has a context. Use `upstream`."""

    def __init__(self, version: Version, tls: ssl.SSLContext | None = None) -> None:
        self._version, self._tls = version, tls
        self._asked: dict[str, asyncio.Queue[Exchange]] = {}
        self._connections = Connections(self._serve)

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._connections.accept, "127.0.0.1", 0, ssl=self._tls)
        self.port: int = self._server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._version == "HTTP/1.1":
            await _Http1((reader, writer), h11.SERVER, self._begun).run()
        else:
            await _Http2((reader, writer), client=False, begun=self._begun).run()

    def _begun(self, target: str, exchange: Exchange) -> None:
        self._asked.setdefault(target, asyncio.Queue()).put_nowait(exchange)

    async def next_request(self, target: str) -> tuple[Exchange, PeerEvent]:
        """Waits for the exchange of this target; returns it and the head of its request."""
        async with asyncio.timeout(SECONDS):
            exchange = await self._asked.setdefault(target, asyncio.Queue()).get()
        return exchange, await exchange.expect("request")

    async def stop(self) -> None:
        await self._connections.close(self._server)


class Client:
    """A connection to the gateway. Use `client`."""

    def __init__(self, connection: _Http1 | _Http2) -> None:
        self._connection = connection

    async def ask(self, method: str, target: str, headers: Headers = (), *, last: bool = False) -> Exchange:
        """Begins an exchange. last: without a body."""
        connection = self._connection
        exchange = connection.exchange if isinstance(connection, _Http1) else connection.new_exchange()
        await exchange.ask(method, target, headers, last=last)
        return exchange


@contextlib.asynccontextmanager
async def upstream(version: Version, tls: ssl.SSLContext | None = None) -> AsyncIterator[Upstream]:
    """An upstream that speaks this version, on a free port of loopback."""
    recording_upstream = Upstream(version, tls)
    await recording_upstream.start()
    try:
        yield recording_upstream
    finally:
        await recording_upstream.stop()


@contextlib.asynccontextmanager
async def client(version: Version, port: int) -> AsyncIterator[Client]:
    """A client of the gateway at the port."""
    streams = await asyncio.open_connection("127.0.0.1", port)
    connection: _Http1 | _Http2
    if version == "HTTP/1.1":
        connection = _Http1(streams, h11.CLIENT, lambda _, __: None)
    else:
        connection = _Http2(streams, client=True, begun=lambda _, __: None)
    connections = Connections(lambda _, __: connection.run())
    connections.accept(*streams)
    try:
        if isinstance(connection, _Http2):
            await connection.settled.wait()
        yield Client(connection)
    finally:
        await connections.abort()
