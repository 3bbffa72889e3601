"""Protocols over TLS besides plain requests: gRPC, WebSockets, events, by common clients."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
import h2.connection
import h2.events
import h2.settings
import httpx
import pytest

from e2e.kit import model_events
from e2e.kit.gateway import Gateway, api, attach
from e2e.kit.model_upstream import ModelUpstream
from e2e.kit.raw_http import connected
from e2e.kit.secured import TlsListener, add_tls_listener
from e2e.kit.upgrading import CRLF, SMUGGLED, SWITCHED, WEBSOCKET, RawUpstream, upgrade_request

pytestmark = pytest.mark.timeout(60)
SECONDS = 15.0
SERVICE = "test.Words"


@pytest.fixture(scope="module")
def tls(shared_gateway: Gateway, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsListener]:
    with add_tls_listener(shared_gateway, tmp_path_factory.mktemp("tls")) as listener:
        yield listener


# ---------------------------------------------------------------- gRPC


async def unary(request: bytes, context: Any) -> bytes:
    await context.send_initial_metadata((("x-begins", "yes"),))
    if request == b"fail":
        context.set_trailing_metadata((("x-why", "asked to"),))
        await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "no; ü")
    context.set_trailing_metadata((("x-ends", "yes"), ("x-raw-bin", b"\x00\xff")))
    return request.upper()


async def stream(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
    """Each word comes back before the next one is sent."""
    count = 0
    async for request in requests:
        count += 1
        yield request.upper()
    context.set_trailing_metadata((("x-count", str(count)),))


@asynccontextmanager
async def words(tls: TlsListener) -> AsyncIterator[grpc.aio.Channel]:
    """A client of a service behind the gateway, whose calls pass a policy in Python."""
    server = grpc.aio.server()
    handlers: dict[str, Any] = {
        "Unary": grpc.unary_unary_rpc_method_handler(unary),
        "Stream": grpc.stream_stream_rpc_method_handler(stream),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    document = api("grpc-tls", f"grpc://127.0.0.1:{port}/{SERVICE}", [attach("mark", {"name": "m"})])
    document["spec"]["context"] = f"/{SERVICE}"
    await asyncio.to_thread(tls.gateway.deploy, document)
    credentials = grpc.ssl_channel_credentials(tls.signer.file.read_bytes())
    async with grpc.aio.secure_channel(f"localhost:{tls.port}", credentials) as channel:
        yield channel
    await server.stop(0)


def test_a_unary_call_passes_with_its_metadata_and_trailers(tls: TlsListener) -> None:
    async def run() -> None:
        async with words(tls) as channel:
            unary_unary: Any = channel.unary_unary(f"/{SERVICE}/Unary")
            call = unary_unary(b"word", timeout=SECONDS)
            assert await call == b"WORD"
            assert ("x-begins", "yes") in tuple(await call.initial_metadata())
            assert {("x-ends", "yes"), ("x-raw-bin", b"\x00\xff")} <= set(await call.trailing_metadata())
            failing = unary_unary(b"fail", timeout=SECONDS)
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await failing
            assert error.value.code() is grpc.StatusCode.FAILED_PRECONDITION
            assert error.value.details() == "no; ü"
            assert ("x-why", "asked to") in tuple(error.value.trailing_metadata())

    asyncio.run(run())


def test_a_bidirectional_call_passes(tls: TlsListener) -> None:
    async def run() -> None:
        async with words(tls) as channel:
            call: Any = channel.stream_stream(f"/{SERVICE}/Stream")(timeout=SECONDS)
            for number in range(20):
                await call.write(b"word %d" % number)
                assert await call.read() == b"WORD %d" % number
            await call.done_writing()
            assert await call.read() is grpc.aio.EOF
            assert ("x-count", "20") in tuple(await call.trailing_metadata())

    asyncio.run(run())


# ---------------------------------------------------------------- WebSockets


@pytest.fixture(scope="module")
def raw_upstream(shared_gateway: Gateway) -> RawUpstream:
    upstream = RawUpstream()
    shared_gateway.deploy(api("wss", upstream.url, [attach("mark", {"name": "m"})]))
    return upstream


def test_a_websocket_passes_over_tls(tls: TlsListener, raw_upstream: RawUpstream) -> None:
    """wss: over HTTP/1.1. The policy sees the handshake, and bytes pass both ways as they are."""
    raw_upstream.answer = SWITCHED
    with connected(tls.port, tls.trust, "localhost") as connection:
        connection.sendall(upgrade_request("/wss/x", WEBSOCKET))
        head = b""
        while not head.endswith(CRLF * 2):
            head += connection.recv(1)
        assert head.startswith(b"HTTP/1.1 101 ")
        assert b"x-order: m()" in head
        for frame in (b"\x81\x85\x00\x00\x00\x00hello", b"\x82\xfe\x10\x00\x00\x00\x00\x00" + bytes(4096)):
            connection.sendall(frame)
            data = b""
            while len(data) < len(frame):
                data += connection.recv(65536)
            assert data == frame
    assert b"x-order: m()" in raw_upstream.heads[-1]


def test_an_upstream_that_does_not_switch_gets_no_more_over_tls(tls: TlsListener, raw_upstream: RawUpstream) -> None:
    raw_upstream.answer, raw_upstream.behind = b"HTTP/1.1 426 Upgrade Required\r\ncontent-length: 0\r\n\r\n", b""
    with connected(tls.port, tls.trust, "localhost") as connection:
        connection.sendall(upgrade_request("/wss/x", WEBSOCKET) + SMUGGLED)
        assert connection.recv(12) == b"HTTP/1.1 426"
        while connection.recv(65536):
            pass
    assert raw_upstream.behind == b""


def test_websockets_over_http2_are_not_offered(tls: TlsListener) -> None:
    """RFC 8441, 3: without ENABLE_CONNECT_PROTOCOL a client opens another connection, with HTTP/1.1."""
    trust = tls.trust
    trust.set_alpn_protocols(["h2"])
    with connected(tls.port, trust, "localhost") as connection:
        http2 = h2.connection.H2Connection()
        http2.initiate_connection()
        connection.sendall(http2.data_to_send())
        settings: dict[Any, Any] = {}
        while not settings:
            for event in http2.receive_data(connection.recv(65536)):
                if isinstance(event, h2.events.RemoteSettingsChanged):
                    settings = event.changed_settings
    offered = settings.get(h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL)
    assert offered is None or offered.new_value == 0


# ---------------------------------------------------------------- events


@pytest.mark.parametrize("http2", [False, True])
def test_events_come_one_by_one(tls: TlsListener, http2: bool) -> None:
    """Through a policy that looks at each; the next one is sent when the client has the one before."""
    words = [f"{word} " for word in ("Write", "to", "ada@example.org", "today", "please")]
    with ModelUpstream() as model:
        tls.gateway.deploy(api("events-tls", model.url, [attach("mask-pii-stream", timeout="10s")]))
        trust: ssl.SSLContext = tls.trust
        events, text = model_events.completion(words), ""
        with (
            httpx.Client(verify=trust, http1=not http2, http2=http2, timeout=SECONDS) as client,
            model.answer_with(events, permits=1),
            client.stream("POST", f"https://localhost:{tls.port}/events-tls/v1", json={}) as answer,
        ):
            assert answer.http_version == ("HTTP/2" if http2 else "HTTP/1.1")
            for count, data in enumerate(line[6:] for line in answer.iter_lines() if line.startswith("data: ")):
                if data != "[DONE]":
                    text += json.loads(data)["choices"][0]["delta"].get("content") or ""
                assert model.sent <= count + 2
                model.permit()
    assert text.startswith("Write to ")
    assert "ada@" not in text
    assert text.endswith(" today please ")
