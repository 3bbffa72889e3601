"""The peer of a client certificate as policies see it: in Go and in Python, through a listener of a Gateway."""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import yaml

from e2e.kit import http3
from e2e.kit.certificates import Authority, authority
from e2e.kit.client_certificates import (
    ALL_KINDS,
    HARD_SUBJECT,
    HARD_SUBJECT_TEXT,
    ClientCertificate,
    client_certificate,
    client_tls,
)
from e2e.kit.conformance import write_twins
from e2e.kit.gateway import Gateway, Json, api, attach, running
from e2e.kit.places import ROOT
from e2e.kit.upstream import Upstream

RUNTIMES = ("go", "python")
FORGED = {
    "x-forwarded-client-cert": 'Subject="CN=root";URI=spiffe://example.org/root',
    "gatewright.peer": "CN=root",
    "x-gatewright-peer": "CN=root",
}


@dataclass
class Door:
    """A gateway whose listener asks clients for certificates."""

    gateway: Gateway
    signer: Authority

    def ask(self, path: str, certificate: ClientCertificate | None, *, http2: bool = False) -> httpx.Response:
        with httpx.Client(verify=client_tls(self.signer, certificate), http2=http2, http1=not http2) as client:
            return client.get(f"https://localhost:{self.gateway.port}{path}", headers=FORGED)

    def ask_over_http3(self, path: str, certificate: ClientCertificate | None) -> http3.Answer:
        async def asked() -> http3.Answer:
            files = (certificate.file, certificate.key_file) if certificate else None
            port, trusted = self.gateway.port, self.signer.file
            async with http3.connected(port, trusted, server_name="localhost", certificate=files) as connection:
                return await connection.get(path, *FORGED.items(), host="localhost")

        return asyncio.run(asked())


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    place = tmp_path_factory.mktemp("door")
    manifest = write_twins(place)
    signer = authority(place)
    chain, key = signer.issue("localhost", "localhost")
    settings = {"mode": "request", "authority": "clients"}
    document = {
        "apiVersion": "gatewright.dev/v1",
        "kind": "Gateway",
        "spec": {
            "listeners": [
                {
                    "name": "mtls",
                    "address": "127.0.0.1",
                    "protocol": "https",
                    "http3": True,
                    "tls": {"certificates": ["own"], "clientCertificates": settings},
                },
            ],
            "certificates": {"own": {"certificateFile": str(chain), "keyFile": str(key)}},
            "authorities": {"clients": {"file": str(signer.file)}},
        },
    }
    (place / "gateway.yaml").write_text(yaml.safe_dump(document))
    output = ROOT / "build" / "e2e-conformance"  # where the twins in Go are compiled once
    arguments = ["--manifest", str(manifest), "--output", str(output)]
    subprocess.run(["gatewright", "build", *arguments], check=True)  # it may compile longer than a start may take
    arguments += ["--gateway", str(place / "gateway.yaml")]
    with running(None, place / "state", *arguments) as gateway:
        yield Door(gateway, signer)


@pytest.fixture(scope="module")
def alice(door: Door) -> ClientCertificate:
    return client_certificate(door.signer, "alice", *ALL_KINDS, subject=HARD_SUBJECT)


def report_peer(runtime: str) -> Json:
    looks = {"onRequest": {"sees": ["peer"]}}
    return attach(f"twin-{runtime}-headers", looks)


def peer_seen(upstream: Upstream) -> object:
    """The peer that the policy has seen and put into a header."""
    value = upstream.received[-1].value("x-saw")
    assert value is not None
    return json.loads(base64.b64decode(value))["peer"]


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_policy_sees_all_names_and_no_header_of_a_client(
    door: Door, alice: ClientCertificate, upstream: Upstream, runtime: str
) -> None:
    door.gateway.deploy(api(f"who-{runtime}", upstream.url, [report_peer(runtime)]))
    path = f"/who-{runtime}/x"
    for version in (1, 2, 3):
        status = (
            door.ask_over_http3(path, alice).status
            if version == 3
            else door.ask(path, alice, http2=version == 2).status_code
        )
        assert status == 200
        assert peer_seen(upstream) == {
            "subject": HARD_SUBJECT_TEXT,
            "issuer": "CN=authority",
            "dnsNames": ["a.example", "b,DNS:c.example"],
            "uris": ["spiffe://example.org/a,b", 'urn:"two"'],
            "emailAddresses": ["alice@example.org"],
            "ipAddresses": ["10.0.0.1", "2001:db8::1"],
            "fingerprint": alice.fingerprint,
        }
    assert upstream.received[-1].value("x-forwarded-client-cert") is None


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_without_a_certificate_there_is_no_peer(door: Door, upstream: Upstream, runtime: str) -> None:
    door.gateway.deploy(api(f"nobody-{runtime}", upstream.url, [report_peer(runtime)]))
    assert door.ask(f"/nobody-{runtime}/x", None).status_code == 200
    assert peer_seen(upstream) is None
    assert door.ask_over_http3(f"/nobody-{runtime}/x", None).status == 200
    assert peer_seen(upstream) is None


def test_a_certificate_of_another_authority_is_no_connection(door: Door, tmp_path: Path, upstream: Upstream) -> None:
    stranger = client_certificate(authority(tmp_path), "alice", *ALL_KINDS)
    with pytest.raises(httpx.TransportError):
        door.ask("/x", stranger)
    with pytest.raises(http3.RefusedError):
        door.ask_over_http3("/x", stranger)
    assert upstream.received == []


def test_a_listener_without_client_certificates_reports_no_peer(door: Door, gateway: Gateway) -> None:
    """It pays for no filter and no attribute."""
    asks, asks_not = (
        node.admin("envoy", "/config_dump?resource=dynamic_listeners") for node in (door.gateway, gateway)
    )
    assert "%DOWNSTREAM_PEER_CERT%" in asks
    assert "filter_state['gatewright.peer']" in asks
    assert "ACCEPT_UNTRUSTED" not in asks
    assert "http_connection_manager" in asks_not
    assert "gatewright.peer" not in asks_not
    assert "%DOWNSTREAM_PEER_CERT%" not in asks_not
