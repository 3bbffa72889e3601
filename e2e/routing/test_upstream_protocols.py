"""The protocol with upstreams: HTTP/1.1, HTTP/2, or the one that TLS or the client chooses."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health

from e2e.kit.conversation import SECONDS, Version, client, upstream
from e2e.kit.gateway import Gateway, Json, api, attach, running
from e2e.kit.markdown import blocks, page

HTTP1: Version = "HTTP/1.1"
HTTP2: Version = "HTTP/2"


@dataclass(frozen=True)
class Certificate:
    """A self-signed certificate of 127.0.0.1."""

    key: Path
    chain: Path

    def context(self, *protocols: str) -> ssl.SSLContext:
        """The TLS context of a server that offers these in ALPN."""
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(self.chain, self.key)
        if protocols:
            tls.set_alpn_protocols(list(protocols))
        return tls


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "upstream")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    built = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    built = built.not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=1))
    built = built.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    signed = built.add_extension(x509.SubjectAlternativeName([address]), critical=False).sign(key, hashes.SHA256())
    folder = tmp_path_factory.mktemp("certificate")
    files = Certificate(folder / "key.pem", folder / "chain.pem")
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    files.key.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    files.chain.write_bytes(signed.public_bytes(pem))
    return files


@pytest.fixture(scope="module")
def trusting_gateway(
    build: Path, certificate: Certificate, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    """A gateway that trusts the certificate."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GATEWRIGHT_CONTROLLER_TRUSTED_CA", str(certificate.chain))
        with running(build, tmp_path_factory.mktemp("state")) as gateway:
            yield gateway


def api_with_protocol(name: str, url: str, protocol: str | None = None, policies: list[Json] | None = None) -> Json:
    document = api(name, url, policies or [])
    if protocol:
        document["spec"]["upstream"]["main"]["protocol"] = protocol
    return document


Deploy = Callable[[int], None]


async def scheme_at_upstream(
    port: int, name: str, ends: tuple[Version, Version], tls: ssl.SSLContext | None, deploy: Deploy
) -> str:
    """The scheme that reaches an upstream of this version, or the status if no request does."""
    downstream, takes = ends
    async with upstream(takes, tls) as there, client(downstream, port) as connection:
        await asyncio.to_thread(deploy, there.port)
        sent = await connection.ask("GET", f"/{name}/x", last=True)
        arrived = asyncio.ensure_future(there.next_request("/x"))
        answered = asyncio.ensure_future(sent.next())
        await asyncio.wait([arrived, answered], return_when=asyncio.FIRST_COMPLETED)
        if answered.done():
            arrived.cancel()
            return str((await answered).status)
        exchange, head = await arrived
        await exchange.answer(204, last=True)
        assert (await answered).status == 204
        return head.scheme or takes


@pytest.mark.parametrize("downstream", [HTTP1, HTTP2])
@pytest.mark.parametrize(
    "case",
    [
        ("auto", HTTP2, ["h2"], "https"),
        ("auto", HTTP1, ["http/1.1"], HTTP1),
        ("auto", HTTP1, [], HTTP1),
        ("http2", HTTP2, ["h2"], "https"),
        ("http1", HTTP1, ["http/1.1", "h2"], HTTP1),
        ("http2", HTTP1, ["http/1.1"], "503"),
    ],
    ids=["auto, h2", "auto, http/1.1", "auto, none", "http2", "http1", "http2 where there is none"],
)
def test_the_protocol_over_tls_is_negotiated_or_set(
    trusting_gateway: Gateway, certificate: Certificate, downstream: Version, case: tuple[str, Version, list[str], str]
) -> None:
    protocol, takes, alpn, seen = case

    def deploy(port: int) -> None:
        trusting_gateway.deploy(api_with_protocol("tls", f"https://127.0.0.1:{port}", protocol))

    tls = certificate.context(*alpn)
    assert asyncio.run(scheme_at_upstream(trusting_gateway.port, "tls", (downstream, takes), tls, deploy)) == seen


@pytest.mark.parametrize(
    ("protocol", "downstream", "takes", "seen"),
    [
        ("auto", HTTP1, HTTP1, HTTP1),
        ("auto", HTTP2, HTTP2, "http"),
        ("http1", HTTP2, HTTP1, HTTP1),
        ("http2", HTTP1, HTTP2, "http"),
        (None, HTTP2, HTTP1, HTTP1),
    ],
)
def test_the_protocol_in_clear_is_as_configured(
    gateway: Gateway, protocol: str | None, downstream: Version, takes: Version, seen: str
) -> None:
    """auto: what the client speaks."""

    def deploy(port: int) -> None:
        gateway.deploy(
            api_with_protocol("clear", f"http://127.0.0.1:{port}", protocol, [attach("mark", {"name": "m"})])
        )

    assert asyncio.run(scheme_at_upstream(gateway.port, "clear", (downstream, takes), None, deploy)) == seen


@pytest.mark.parametrize("secure", [False, True], ids=["grpc", "grpcs"])
def test_a_grpc_service_is_served_at_its_own_paths(
    trusting_gateway: Gateway, certificate: Certificate, secure: bool
) -> None:
    """The context is the service's name, and so is the base: a client needs to know of no prefix."""

    async def call() -> int:
        server = grpc.aio.server()
        servicer = health.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
        await servicer.set("", health_pb2.HealthCheckResponse.SERVING)
        pair = (certificate.key.read_bytes(), certificate.chain.read_bytes())
        credentials = grpc.ssl_server_credentials([pair])
        listening = server.add_secure_port if secure else server.add_insecure_port
        port = listening("127.0.0.1:0", *([credentials] if secure else []))
        await server.start()
        (example,) = (block for block in blocks(page("docs/how-to/apis.md"), "yaml") if "grpc://health" in block)
        url = f"{'grpcs' if secure else 'grpc'}://127.0.0.1:{port}"
        document = yaml.safe_load(example.replace("grpc://health.internal:9000", url))
        await asyncio.to_thread(trusting_gateway.deploy, document)
        async with grpc.aio.insecure_channel(f"127.0.0.1:{trusting_gateway.port}") as channel:
            answer = await health_pb2_grpc.HealthStub(channel).Check(  # type: ignore[attr-defined]
                health_pb2.HealthCheckRequest(), timeout=SECONDS
            )
        await server.stop(0)
        return int(answer.status)

    assert asyncio.run(call()) == health_pb2.HealthCheckResponse.SERVING


def test_grpc_over_an_http1_upstream_is_an_error_with_the_reason(gateway: Gateway) -> None:
    async def status() -> grpc.StatusCode:
        async with upstream(HTTP1) as there:
            await asyncio.to_thread(gateway.deploy, api_with_protocol("no-grpc", f"grpc://127.0.0.1:{there.port}"))
            async with grpc.aio.insecure_channel(f"127.0.0.1:{gateway.port}") as channel:
                call: Any = channel.unary_unary
                try:
                    await call("/no-grpc/a.B/C")(b"", timeout=SECONDS)
                except grpc.aio.AioRpcError as error:
                    return error.code()
        raise AssertionError("expected an error")

    assert asyncio.run(status()) is grpc.StatusCode.UNAVAILABLE
