"""Two hosts on one port of a whole gateway, of which one asks for client certificates: what policies see, whose fault a
misdirected request is, and what a file that cannot be used closes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest
import yaml

from e2e.kit import http3
from e2e.kit.certificates import Authority, authority
from e2e.kit.client_certificates import ClientCertificate, client_certificate, client_tls
from e2e.kit.commands import run_explain
from e2e.kit.gateway import Gateway, api, attach, eventually, fresh_name, running
from e2e.kit.listening import free_port, write
from e2e.kit.places import ROOT
from e2e.kit.recorded import record_exchanges, wait_for_exchanges
from e2e.kit.upstream import Upstream

pytestmark = pytest.mark.timeout(180)
WWW, PARTNERS = "www.example.com", "partners.example.com"


@dataclass
class Door:
    """A gateway with one listener with TLS, whose host PARTNERS requires certificates. clients: their authority."""

    gateway: Gateway
    port: int
    signer: Authority
    clients: Authority

    def ask(
        self, version: int, path: str, server_name: str, host: str = "", certificate: ClientCertificate | None = None
    ) -> int:
        """The status. host: of the request, where that is another one than the connection's."""
        if version == 3:
            return asyncio.run(self._ask_over_http3(path, server_name, host or server_name, certificate))
        context = client_tls(self.signer, certificate)
        with httpx.Client(verify=context, http1=version == 1, http2=version == 2) as client:
            sni = {"sni_hostname": server_name}
            return client.get(
                f"https://127.0.0.1:{self.port}{path}", headers={"host": host or server_name}, extensions=sni
            ).status_code

    async def _ask_over_http3(
        self, path: str, server_name: str, host: str, certificate: ClientCertificate | None
    ) -> int:
        files = (certificate.file, certificate.key_file) if certificate else None
        async with http3.connected(
            self.port, self.signer.file, server_name=server_name, certificate=files
        ) as connection:
            return (await connection.get(path, host=host)).status

    def connects(self, server_name: str, certificate: ClientCertificate | None) -> bool:
        try:
            self.ask(1, "/", server_name, certificate=certificate)
        except httpx.TransportError:
            return False
        return True


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    place = tmp_path_factory.mktemp("door")
    signer, clients = authority(place), authority(place, "clients")
    chain, key = signer.issue("main", WWW, PARTNERS)
    clear, port = free_port(), free_port()
    listener = {
        "name": "public", "port": port, "protocol": "https", "http3": True, "hosts": [WWW, PARTNERS],
        "tls": {"certificates": ["main"], "clientCertificatesByHost": {PARTNERS: {"authority": "clients"}}},
    }  # fmt: skip
    file = write(
        place / "gateway.yaml",
        {"name": "clear", "port": clear},
        listener,
        certificates={"main": {"certificateFile": str(chain), "keyFile": str(key)}},
        authorities={"clients": {"file": str(clients.file)}},
    )
    manifest = place / "build.yaml"
    policy = {"name": "mtls-auth", "filePath": str(ROOT / "policies" / "mtls-auth")}
    manifest.write_text(yaml.safe_dump({"version": "v1", "policies": [policy]}))
    arguments = ["--manifest", str(manifest), "--output", str(place / "build"), "--gateway", str(file)]
    with running(None, place / "state", *arguments, "--port", str(clear)) as gateway:
        yield Door(gateway, port, signer, clients)


@pytest.mark.parametrize("version", [1, 2, 3])
def test_a_policy_sees_the_certificate_where_the_host_asks_for_it(door: Door, upstream: Upstream, version: int) -> None:
    """An API on both hosts: clients of the other host have shown no certificate."""
    name = fresh_name("both")
    params = {"headers": [{"name": "x-client", "value": "identity"}]}
    door.gateway.deploy(api(name, upstream.url, [attach("mtls-auth", params)]))
    partner = client_certificate(door.clients, "partner")
    assert door.ask(version, f"/{name}/x", PARTNERS, certificate=partner) == 200
    assert upstream.received.pop().value("x-client") == "CN=partner"
    assert door.ask(version, f"/{name}/x", WWW, certificate=partner) == 403
    assert door.ask(version, f"/{name}/x", WWW) == 403
    assert upstream.received == []


@pytest.mark.parametrize("version", [1, 2, 3])
def test_an_api_on_the_host_that_asks_is_reached_with_a_certificate_alone(
    door: Door, upstream: Upstream, version: int
) -> None:
    name = fresh_name("partners")
    document = api(name, upstream.url)
    document["spec"]["hosts"] = [PARTNERS]
    door.gateway.deploy(document)
    path = f"/{name}/x"
    assert door.ask(version, path, PARTNERS, certificate=client_certificate(door.clients, "partner")) == 200
    upstream.received.clear()
    with pytest.raises((httpx.TransportError, http3.RefusedError)):
        door.ask(version, path, PARTNERS)
    assert door.ask(version, path, WWW, PARTNERS) == 421
    assert door.ask(version, path, WWW) == 404
    assert upstream.received == []


def test_a_misdirected_request_is_explained(door: Door, upstream: Upstream) -> None:
    name = fresh_name("misdirected")
    door.gateway.deploy(api(name, upstream.url))
    with record_exchanges(door.gateway, path=f"/{name}/"):
        assert door.ask(2, f"/{name}/x", WWW, PARTNERS) == 421
        (exchange,) = wait_for_exchanges(door.gateway, path=f"/{name}/")
    cause = exchange["cause"]
    assert (exchange["answeredBy"], cause["party"], cause["code"]) == ("proxy", "client", "other_server_name")
    explanation = " ".join(run_explain(door.gateway, exchange["id"]).split())
    assert f"the host {PARTNERS} asks for other client certificates than the server name (SNI)" in explanation
    assert "have the client open a connection whose server name is the request's host" in explanation


def test_a_file_that_cannot_be_used_closes_its_own_host_alone(door: Door, upstream: Upstream) -> None:
    """At a start of the engine, which has no earlier state."""
    name = fresh_name("left")
    door.gateway.deploy(api(name, upstream.url))
    partner = client_certificate(door.clients, "partner")
    written = door.clients.file.read_text()
    before = door.gateway.pid("engine")
    door.clients.file.write_text("no certificate")
    try:
        door.gateway.kill("engine")
        eventually("another engine runs", lambda: door.gateway.pid("engine") not in (None, before))
        eventually("the host without certificates is served", lambda: serves(door, f"/{name}/x"))
        eventually("the other host is closed", lambda: not door.connects(PARTNERS, partner))
        assert not door.connects(PARTNERS, None)
        assert door.ask(1, f"/{name}/x", WWW, PARTNERS) == 421
    finally:
        door.clients.file.write_text(written)
    eventually("its host is back", lambda: door.connects(PARTNERS, partner))
    assert not door.connects(PARTNERS, None)


def serves(door: Door, path: str) -> bool:
    try:
        return door.ask(1, path, WWW) == 200
    except httpx.TransportError:
        return False
