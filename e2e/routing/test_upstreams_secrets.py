"""TLS to upstreams with what the Gateway names: an authority of one's own, and a certificate that targets are shown."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import yaml

from e2e.kit.certificates import Authority, authority
from e2e.kit.gateway import Gateway, Json, api, eventually, running
from e2e.kit.listening import free_port
from e2e.kit.pool_targets import Target, tls_of
from e2e.kit.traffic import traffic


@dataclass
class TlsNode:
    """Its Gateway names `internal`, an authority, and `gateway`, a certificate that `clients` has signed."""

    gateway: Gateway
    internal: Authority
    clients: Authority


@pytest.fixture(scope="module")
def tls_node(build: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsNode]:
    place = tmp_path_factory.mktemp("secured")
    internal, clients = authority(place, "internal"), authority(place, "clients")
    chain, key = clients.issue("gateway", "gateway.internal")
    listener = {"name": "http", "port": 8080}
    spec = {
        "listeners": [listener],
        "certificates": {"gateway": {"certificateFile": str(chain), "keyFile": str(key)}},
        "authorities": {"internal": {"file": str(internal.file)}},
    }
    document = {"apiVersion": "gatewright.dev/v1", "kind": "Gateway", "spec": spec}
    (place / "gateway.yaml").write_text(yaml.safe_dump(document))
    with running(build, place / "state", "--gateway", str(place / "gateway.yaml"), "--port", "0") as gateway:
        yield TlsNode(gateway, internal, clients)


def api_with_tls(name: str, target: Target, **tls: str) -> Json:
    document = api(name, target.url)
    document["spec"]["upstream"]["main"] = {"url": target.url, "tls": tls}
    return document


def target_requiring_certificates(secured: TlsNode, name: str) -> Target:
    """A target that requires a certificate that `clients` has signed."""
    target = Target(name)
    target.tls = tls_of(secured.internal, name, "127.0.0.1")
    target.tls.load_verify_locations(secured.clients.file)
    target.tls.verify_mode = ssl.CERT_REQUIRED
    return target


def test_an_upstream_is_verified_by_a_named_authority(tls_node: TlsNode) -> None:
    target = Target("own")
    target.tls = tls_of(tls_node.internal, "own", "127.0.0.1")
    with target:
        tls_node.gateway.deploy(api_with_tls("own", target, authority="internal"))
        assert httpx.get(f"{tls_node.gateway.url}/own/x").text == "own"
        tls_node.gateway.deploy(api_with_tls("own", target))  # by the operator's file, which has it not
        assert httpx.get(f"{tls_node.gateway.url}/own/x").status_code == 503


def test_a_client_certificate_is_shown_where_it_is_named(tls_node: TlsNode) -> None:
    with target_requiring_certificates(tls_node, "mutual") as target:
        tls_node.gateway.deploy(api_with_tls("mutual", target, authority="internal", clientCertificate="gateway"))
        assert httpx.get(f"{tls_node.gateway.url}/mutual/x").text == "mutual"
        tls_node.gateway.deploy(api_with_tls("mutual", target, authority="internal"))
        assert httpx.get(f"{tls_node.gateway.url}/mutual/x").status_code == 503
        assert len(target.seen) == 1


def test_a_certificate_that_changes_is_shown_without_a_failed_request(tls_node: TlsNode) -> None:
    with target_requiring_certificates(tls_node, "rotated") as target:
        document = api_with_tls("rotated", target, authority="internal", clientCertificate="gateway")
        document["spec"]["upstream"]["main"]["maxRequestsPerConnection"] = 10
        tls_node.gateway.deploy(document)
        with traffic(f"{tls_node.gateway.url}/rotated/x", clients=4, pause=0.018) as (flow,):
            for _ in range(3):
                before = len(target.seen)
                tls_node.clients.issue("gateway", "gateway.internal")
                eventually("requests go on", lambda: len(target.seen) > before + 100)  # noqa: B023
        assert set(flow.counts()) == {200}, flow.problems[:3]


@pytest.mark.parametrize("proxied", [{}, {"proxyProtocol": "v1"}], ids=["plain", "behind the PROXY protocol"])
def test_an_unknown_certificate_name_is_refused(tls_node: TlsNode, proxied: Json) -> None:
    document = api("unknown", "")
    document["spec"]["upstream"]["main"] = {"url": "https://127.0.0.1:9", "tls": {"authority": "other"}, **proxied}
    with tls_node.gateway.controller() as client:
        answer = client.post("/v1/apis", json=document)
    assert answer.status_code == 422
    assert "expected one that the Gateway names (internal), got 'other'" in answer.text


def test_a_listener_and_an_upstream_may_name_the_same_certificate(build: Path, tmp_path: Path) -> None:
    """Also once the listener has gone, whose certificate its connections keep for a while."""
    signs = authority(tmp_path)
    chain, key = signs.issue("both", "127.0.0.1")
    tls = {"certificates": ["both"], "clientCertificates": {"mode": "request", "authority": "both"}}
    http, secure = (
        {"name": "http", "port": 8080},
        {"name": "https", "port": free_port(), "protocol": "https", "tls": tls},
    )
    spec = {
        "listeners": [http, secure],
        "certificates": {"both": {"certificateFile": str(chain), "keyFile": str(key)}},
        "authorities": {"both": {"file": str(signs.file)}},
    }
    file, target = tmp_path / "gateway.yaml", Target("both")
    file.write_text(yaml.safe_dump({"apiVersion": "gatewright.dev/v1", "kind": "Gateway", "spec": spec}))
    target.tls = tls_of(signs, "target", "127.0.0.1")
    target.tls.load_verify_locations(signs.file)
    target.tls.verify_mode = ssl.CERT_REQUIRED
    with target, running(build, tmp_path / "state", "--gateway", str(file), "--port", "0") as gateway:
        gateway.deploy(api_with_tls("both", target, authority="both", clientCertificate="both"))
        assert httpx.get(f"{gateway.url}/both/x").text == "both"
        spec["listeners"] = [http]
        file.write_text(yaml.safe_dump({"apiVersion": "gatewright.dev/v1", "kind": "Gateway", "spec": spec}))
        assert gateway.reload().returncode == 0
        gateway.deploy(api_with_tls("another", target, authority="both"))
        assert httpx.get(f"{gateway.url}/another/x").status_code == 503, "it shows no certificate"
        gateway.deploy(api_with_tls("another", target, authority="both", clientCertificate="both"))
        assert httpx.get(f"{gateway.url}/another/x").text == "both"
