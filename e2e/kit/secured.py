"""Gateways that speak TLS: the document of one, and a listener with TLS beside those that a gateway has."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from e2e.kit.certificates import Authority, authority
from e2e.kit.client_certificates import client_tls
from e2e.kit.gateway import Gateway, Json
from e2e.kit.listening import free_port


@dataclass(frozen=True)
class TlsListener:
    """A listener with TLS, on 127.0.0.1, with a certificate of that address and of localhost."""

    gateway: Gateway
    port: int
    signer: Authority

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def trust(self) -> ssl.SSLContext:
        """A new TLS context of a client."""
        return client_tls(self.signer)


@contextmanager
def add_tls_listener(gateway: Gateway, folder: Path) -> Iterator[TlsListener]:
    """Adds the listener by the management API while the gateway runs, and removes it. folder: for certificates."""
    signer = authority(folder)
    chain, key = signer.issue("own", "127.0.0.1", "localhost")
    port = free_port()
    with gateway.controller() as controller:
        document: Json = controller.get("/v1/gateway").json()
        document.pop("status")
        spec = document["spec"]
        tls = {"certificates": ["own"]}
        spec["listeners"] = [*spec["listeners"], {"name": "https", "port": port, "protocol": "https", "tls": tls}]
        spec["certificates"] = {"own": {"certificateFile": str(chain), "keyFile": str(key)}}
        put = controller.put("/v1/gateway", json=document, params={"wait": "15"})
        assert put.is_success, put.text
        assert put.json()["status"]["state"] == "deployed", put.text
        yield TlsListener(gateway, port, signer)
        assert controller.delete("/v1/gateway", params={"wait": "15"}).is_success
