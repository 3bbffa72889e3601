"""How a pool's targets are reached: names, sockets, TLS, HTTP/2, and the PROXY protocol."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import socket
import ssl
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc.aio
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health

from e2e.kit.certificates import Authority, authority
from e2e.kit.gateway import Gateway, Json, api, eventually, running
from e2e.kit.name_server import NameServer, name_server
from e2e.kit.names import Names
from e2e.kit.pool_targets import Target, targets, tls_of
from e2e.kit.traffic import traffic

CLIENTS, PAUSE = 4, 0.018


@pytest.fixture(scope="module")
def sockets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sockets")


@pytest.fixture(scope="module")
def trusted_authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("trusted"))


@pytest.fixture(scope="module")
def socket_gateway(
    build: Path, sockets: Path, trusted_authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    """A gateway whose operator lets publishers name the sockets in a folder, and trusts an authority."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GATEWRIGHT_CONTROLLER_ALLOWED_UPSTREAMS", f'["unix:{sockets}/"]')
        patch.setenv("GATEWRIGHT_CONTROLLER_TRUSTED_CA", str(trusted_authority.file))
        with running(build, tmp_path_factory.mktemp("state")) as gateway:
            yield gateway


@dataclass
class Resolving:
    """A gateway to which `a.test` and `b.test` are this machine. server: its name server."""

    gateway: Gateway
    server: NameServer


@pytest.fixture(scope="module")
def resolving(
    build: Path, trusted_authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Resolving]:
    folder = tmp_path_factory.mktemp("names")
    with name_server() as server, pytest.MonkeyPatch.context() as patch:
        names = Names(folder, server=server.address)
        names.resolve_to_loopback("a.test", "b.test")
        patch.setenv("GATEWRIGHT_CONTROLLER_TRUSTED_CA", str(trusted_authority.file))
        with running(build, folder / "state", within=names.within) as gateway:
            yield Resolving(gateway, server)


def api_with_pool(name: str, pool: Json) -> Json:
    document = api(name, "")
    document["spec"]["upstream"]["main"] = pool
    return document


def test_unix_sockets_are_upstreams_if_allowed(socket_gateway: Gateway, sockets: Path) -> None:
    with Target("a", socket=sockets / "a.sock") as a, Target("b", socket=sockets / "b.sock") as b:
        socket_gateway.deploy(api_with_pool("sockets", {"targets": [{"url": a.url}, {"url": b.url}]}))
        answers = {httpx.get(f"{socket_gateway.url}/sockets/x").text for _ in range(40)}
        assert answers == {"a", "b"}
        assert set(a.hosts) == {"localhost"}
    with socket_gateway.controller() as client:
        refused = client.post("/v1/apis", json=api_with_pool("outside", {"url": "unix:/run/other.sock"}))
    assert refused.status_code == 422
    assert "allowedUpstreams" in refused.text


def parse_proxy_header(head: bytes) -> tuple[tuple[str, int], tuple[str, int], bytes]:
    """Source and destination that a connection begins with, and what follows."""
    if head.startswith(b"PROXY TCP4 "):
        line, _, rest = head.partition(b"\r\n")
        source, destination, source_port, destination_port = line.decode().split(" ")[2:]
        return (source, int(source_port)), (destination, int(destination_port)), rest
    assert head.startswith(b"\r\n\r\n\x00\r\nQUIT\n\x21\x11")  # version 2, PROXY, TCP over IPv4
    (length,) = struct.unpack("!H", head[14:16])
    source, destination = socket.inet_ntoa(head[16:20]), socket.inet_ntoa(head[20:24])
    source_port, destination_port = struct.unpack("!HH", head[24:28])
    return (source, source_port), (destination, destination_port), head[16 + length :]


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_the_proxy_protocol_names_the_clients_connection(socket_gateway: Gateway, version: str) -> None:
    """Each client's connection has one of its own: another client's requests never go behind its header."""
    with targets("a") as (target,):
        socket_gateway.deploy(api_with_pool("proxied", {"url": target.url, "proxyProtocol": version}))
        sources = []
        for _ in range(3):
            with contextlib.closing(http.client.HTTPConnection("127.0.0.1", socket_gateway.port)) as client:
                for _ in range(2):
                    client.request("GET", "/proxied/x")
                    assert client.getresponse().read() == b"a"
                sources.append(client.sock.getsockname())
        begun = [parse_proxy_header(head) for head in target.first]
        assert [source for source, _, _ in begun] == sources
        assert {destination for _, destination, _ in begun} == {("127.0.0.1", socket_gateway.port)}
        assert all(rest.startswith(b"GET /x HTTP/1.1\r\n") for _, _, rest in begun)


def tls_target(name: str, signer: Authority, *hosts: str) -> tuple[Target, list[str | None]]:
    """A target with TLS, and the server names that it is asked for."""
    target = Target(name)
    target.tls = tls_of(signer, name, *hosts)
    server_names: list[str | None] = []
    target.tls.sni_callback = lambda _socket, server_name, _context: server_names.append(server_name)
    return target, server_names


def test_a_server_name_is_sent_and_verified(socket_gateway: Gateway, trusted_authority: Authority) -> None:
    target, server_names = tls_target("named", trusted_authority, "orders.example")
    with target:
        socket_gateway.deploy(api_with_pool("named", {"url": target.url, "tls": {"serverName": "orders.example"}}))
        assert httpx.get(f"{socket_gateway.url}/named/x").text == "named"
        assert set(server_names) == {"orders.example"}
        for wrong in ({}, {"serverName": "other.example"}):
            socket_gateway.deploy(api_with_pool("named", {"url": target.url, "tls": wrong}))
            assert httpx.get(f"{socket_gateway.url}/named/x").status_code == 503
        assert len(target.seen) == 1


def test_an_authority_that_is_not_trusted_is_refused(socket_gateway: Gateway, tmp_path: Path) -> None:
    target, _ = tls_target("stranger", authority(tmp_path, "other"), "127.0.0.1")
    with target:
        socket_gateway.deploy(api_with_pool("stranger", {"url": target.url}))
        assert httpx.get(f"{socket_gateway.url}/stranger/x").status_code == 503
        assert target.seen == []


@pytest.mark.parametrize("lowest", ["1.2", "1.3"])
def test_the_lowest_version_of_tls_is_enforced(
    socket_gateway: Gateway, trusted_authority: Authority, lowest: str
) -> None:
    old, _ = tls_target("old", trusted_authority, "127.0.0.1")
    assert old.tls
    old.tls.maximum_version = ssl.TLSVersion.TLSv1_2
    new, _ = tls_target("new", trusted_authority, "127.0.0.1")
    assert new.tls
    new.tls.minimum_version = ssl.TLSVersion.TLSv1_3
    with old, new:
        outcomes = {}
        for target in (old, new):
            socket_gateway.deploy(api_with_pool("lowest", {"url": target.url, "tls": {"minVersion": lowest}}))
            outcomes[target.name] = httpx.get(f"{socket_gateway.url}/lowest/x").status_code
        assert outcomes == {"old": 200 if lowest == "1.2" else 503, "new": 200}


def test_targets_of_one_pool_are_verified_by_their_own_names(
    resolving: Resolving, trusted_authority: Authority
) -> None:
    """The targets share one Host."""
    gateway = resolving.gateway
    a, asked_a = tls_target("a", trusted_authority, "a.test")
    b, asked_b = tls_target("b", trusted_authority, "b.test")
    with a, b:
        urls = [{"url": f"https://{target.name}.test:{target.port}"} for target in (a, b)]
        gateway.deploy(api_with_pool("both", {"targets": urls, "host": "orders.example"}))
        answers = {httpx.get(f"{gateway.url}/both/x").text for _ in range(40)}
        assert answers == {"a", "b"}
        assert (set(asked_a), set(asked_b)) == ({"a.test"}, {"b.test"})
        assert set(a.hosts) | set(b.hosts) == {"orders.example"}
    gateway.remove("both")


def test_a_grpc_health_check_ejects_a_target(socket_gateway: Gateway) -> None:
    """Over HTTP/2: a target that answers NOT_SERVING gets no requests."""

    async def statuses() -> list[grpc.StatusCode]:
        server = grpc.aio.server()
        servicer = health.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
        port = server.add_insecure_port("127.0.0.1:0")
        await servicer.set("orders.Orders", health_pb2.HealthCheckResponse.SERVING)
        await server.start()
        check = {"grpc": {"service": "orders.Orders"}, "interval": "200ms", "unhealthyThreshold": 1}
        document = api_with_pool("rpc", {"url": f"grpc://127.0.0.1:{port}/grpc.health.v1.Health", "healthCheck": check})
        document["spec"]["context"] = "/grpc.health.v1.Health"
        await asyncio.to_thread(socket_gateway.deploy, document)
        received_statuses = []
        async with grpc.aio.insecure_channel(f"127.0.0.1:{socket_gateway.port}") as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            serving, not_serving = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
            for status, expected in ((serving, "OK"), (not_serving, "UNAVAILABLE"), (serving, "OK")):
                await servicer.set("orders.Orders", status)
                received_statuses.append(await until(stub, expected))
        await server.stop(0)
        return received_statuses

    async def until(stub: health_pb2_grpc.HealthStub, expected: str) -> grpc.StatusCode:
        end = time.monotonic() + 10
        while True:
            try:
                await stub.Check(  # type: ignore[attr-defined]
                    health_pb2.HealthCheckRequest(service="orders.Orders"), timeout=5
                )
                code = grpc.StatusCode.OK
            except grpc.aio.AioRpcError as error:
                code = error.code()
            if code.name == expected or time.monotonic() > end:
                return code
            await asyncio.sleep(0.05)

    assert [code.name for code in asyncio.run(statuses())] == ["OK", "UNAVAILABLE", "OK"]


@pytest.mark.parametrize("discovery", ["strict", "logical"])
def test_a_names_addresses_are_followed(resolving: Resolving, discovery: str) -> None:
    """Requests move without a failure. logical: only those of new connections."""
    gateway, known, name = resolving.gateway, resolving.server.known, f"{discovery}.test"
    with Target("a", "127.0.0.1") as a, Target("b", "127.0.0.2", a.port) as b:
        known[name] = ["127.0.0.1"]
        dns = {"discovery": discovery, "refresh": "200ms"}
        pool: Json = {"url": f"http://{name}:{a.port}", "dns": dns}
        if discovery == "logical":
            pool["maxRequestsPerConnection"] = 20
        gateway.deploy(api_with_pool(discovery, pool))
        with traffic(f"{gateway.url}/{discovery}/x", clients=CLIENTS, pause=PAUSE) as (flow,):
            eventually("a is asked", lambda: len(a.seen) > 20)
            known[name] = ["127.0.0.2"]
            eventually("b is asked", lambda: len(b.seen) > 20)
            if discovery == "strict":
                known[name] = ["127.0.0.1", "127.0.0.2"]
                a.seen.clear()
                eventually("both are asked", lambda: len(a.seen) > 20)
            else:
                eventually("a is left", lambda: _gets_no_requests(a))
        assert set(flow.counts()) == {200}, flow.problems[:3]
        gateway.remove(discovery)


def _gets_no_requests(target: Target) -> bool:
    before = len(target.seen)
    time.sleep(0.5)
    return len(target.seen) == before
