"""mtls-auth on a listener that requests client certificates: the clients admitted, and the headers sent upstream."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import httpx
import pytest
import yaml
from cryptography import x509

from e2e.kit.certificates import Authority, authority
from e2e.kit.client_certificates import (
    HARD_SUBJECT,
    HARD_SUBJECT_TEXT,
    ClientCertificate,
    client_certificate,
    client_tls,
)
from e2e.kit.gateway import Gateway, api, attach, running
from e2e.kit.places import ROOT
from e2e.kit.upstream import Upstream

ORDERS = "spiffe://example.org/ns/orders/sa/till"
HEADERS = [{"name": "x-client", "value": "identity"}, {"name": "x-uri", "value": "uris"}]
FORGED = {"x-client": "spiffe://example.org/ns/orders/sa/root", "x-uri": "forged", "x-forwarded-client-cert": "URI=x"}


class Door:
    """A gateway, and the authority that its listener trusts."""

    def __init__(self, gateway: Gateway, signer: Authority) -> None:
        self.gateway, self.signer = gateway, signer

    def ask(
        self,
        path: str,
        certificate: ClientCertificate | None,
        headers: Mapping[str, str] = FORGED,
        *,
        http2: bool = False,
    ) -> httpx.Response:
        with httpx.Client(verify=client_tls(self.signer, certificate), http2=http2, http1=not http2) as client:
            return client.get(f"https://localhost:{self.gateway.port}{path}", headers=headers)


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    place = tmp_path_factory.mktemp("door")
    signer = authority(place)
    chain, key = signer.issue("localhost", "localhost")
    tls = {"certificates": ["own"], "clientCertificates": {"mode": "request", "authority": "clients"}}
    document = {
        "apiVersion": "gatewright.dev/v1",
        "kind": "Gateway",
        "spec": {
            "listeners": [{"name": "mtls", "address": "127.0.0.1", "protocol": "https", "tls": tls}],
            "certificates": {"own": {"certificateFile": str(chain), "keyFile": str(key)}},
            "authorities": {"clients": {"file": str(signer.file)}},
        },
    }
    gateway_file, manifest = place / "gateway.yaml", place / "build.yaml"
    gateway_file.write_text(yaml.safe_dump(document))
    policy = {"name": "mtls-auth", "filePath": str(ROOT / "policies" / "mtls-auth")}
    manifest.write_text(yaml.safe_dump({"version": "v1", "policies": [policy]}))
    arguments = ["--manifest", str(manifest), "--output", str(place / "build"), "--gateway", str(gateway_file)]
    with running(None, place / "state", *arguments) as gateway:
        yield Door(gateway, signer)


def test_named_clients_are_admitted_and_upstream_receives_their_identity(door: Door, upstream: Upstream) -> None:
    till = client_certificate(door.signer, "till", x509.UniformResourceIdentifier(ORDERS))
    other = client_certificate(door.signer, "other", x509.UniformResourceIdentifier(ORDERS.replace("orders", "bills")))
    params = {"allow": [{"uris": ["spiffe://example.org/ns/orders/sa/*"]}], "identity": "uri", "headers": HEADERS}
    door.gateway.deploy(api("till", upstream.url, [attach("mtls-auth", params)]))
    for http2 in (False, True):
        assert door.ask("/till/x", till, http2=http2).status_code == 200
        assert upstream.received.pop().values("x-client") == [ORDERS.encode()]
    for stranger in (other, None):
        refused = door.ask("/till/x", stranger)
        assert refused.status_code == 403
        assert refused.headers["content-type"] == "application/problem+json"
    assert upstream.received == []


def test_a_clients_own_headers_never_go_upstream(door: Door, upstream: Upstream) -> None:
    """Also where the certificate has nothing to put into their place."""
    alice = client_certificate(door.signer, "alice", subject=HARD_SUBJECT)
    allow = [{"subject": {"CN": "alice", "O": 'Ex, "amplé" + Co'}, "issuer": {"CN": "authority"}}]
    door.gateway.deploy(api("alice", upstream.url, [attach("mtls-auth", {"allow": allow, "headers": HEADERS})]))
    assert door.ask("/alice/x", alice).status_code == 200
    received = upstream.received.pop()
    assert received.value("x-client") == HARD_SUBJECT_TEXT
    assert received.value("x-uri") is None
    assert received.value("x-forwarded-client-cert") is None


def test_a_certificate_is_denied_by_its_fingerprint(door: Door, upstream: Upstream) -> None:
    stolen, kept = (client_certificate(door.signer, name) for name in ("stolen", "kept"))
    params = {"deny": [{"fingerprints": [stolen.fingerprint]}], "statusCode": 404, "withoutCertificate": 401}
    door.gateway.deploy(api("keys", upstream.url, [attach("mtls-auth", params)]))
    statuses = [door.ask("/keys/x", certificate).status_code for certificate in (kept, stolen, None)]
    assert statuses == [200, 404, 401]
