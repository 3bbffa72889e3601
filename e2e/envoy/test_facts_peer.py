"""The certificate and the address of a client as Envoy reports them, which the client cannot influence.

docs/reference/envoy.md lists the facts.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from urllib.parse import unquote

import grpc
import httpx
import pytest

from e2e.kit.certificates import Authority, authority
from e2e.kit.client_certificates import ALL_KINDS, HARD_SUBJECT, ClientCertificate, client_certificate, client_tls
from e2e.kit.gateway import Json
from e2e.kit.lone_envoy import (
    HEADERS,
    Engine,
    LoneEnvoy,
    Messages,
    connection_manager,
    continue_unchanged,
    ext_proc_filter,
    lone_envoy,
    route,
)
from e2e.kit.upstream import Upstream

PEER = "filter_state['gatewright.peer']"
FORGED = {
    "x-forwarded-client-cert": 'Hash=00;Subject="CN=root";URI=spiffe://example.org/root',
    "gatewright.peer": "CN=root",
    "x-gatewright-peer": "CN=root",
    "x-envoy-peer-metadata": "CN=root",
}


def passes(messages: Messages, _: grpc.ServicerContext) -> Iterator[object]:
    for message in messages:
        yield continue_unchanged(message.WhichOneof("request"))


@dataclass
class Door:
    """A listener with TLS that asks for client certificates."""

    signer: Authority
    server: tuple[Path, Path]
    alice: ClientCertificate
    engine: Engine = field(default_factory=lambda: Engine(p=passes))

    def attributes(self) -> dict[str, str]:
        """The attributes of the last exchange."""
        first = next(message for message in reversed(self.engine.messages) if message.attributes)
        (group,) = first.attributes.values()
        return {name: value.string_value for name, value in group.fields.items()}

    def headers(self) -> dict[str, bytes]:
        return {header.key: header.raw_value for header in self.engine.messages[-1].request_headers.headers.headers}

    def listen(self, config: Json, required: bool, accepts_untrusted: bool) -> None:
        """Configures the listener as decision 45 describes it."""
        text = {"omit_empty_values": True, "text_format_source": {"inline_string": "%DOWNSTREAM_PEER_CERT%"}}
        filter_state = {"object_key": "gatewright.peer", "factory_key": "envoy.string", "skip_if_empty": True}
        kind = "type.googleapis.com/envoy.extensions.filters.http.set_filter_state.v3.Config"
        state = {"@type": kind, "on_request_headers": [{**filter_state, "format_string": text}]}
        connection_manager(config)["http_filters"].insert(0, {"name": "gatewright.peer", "typed_config": state})
        ext_proc_filter(config)["request_attributes"] = ["xds.route_name", "source.address", PEER]
        chain, key = self.server
        trusted: Json = {"trusted_ca": {"filename": str(self.signer.file)}}
        if accepts_untrusted:
            trusted["trust_chain_verification"] = "ACCEPT_UNTRUSTED"
        config["static_resources"]["listeners"][0]["filter_chains"][0]["transport_socket"] = {
            "name": "envoy.transport_sockets.tls",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
                "require_client_certificate": required,
                "common_tls_context": {
                    "alpn_protocols": ["h2", "http/1.1"],
                    "validation_context": trusted,
                    "tls_certificates": [
                        {"certificate_chain": {"filename": str(chain)}, "private_key": {"filename": str(key)}}
                    ],
                },
            },
        }

    def ask(self, envoy: LoneEnvoy, certificate: ClientCertificate | None, *, http2: bool = False) -> httpx.Response:
        with httpx.Client(verify=client_tls(self.signer, certificate), http2=http2, http1=not http2) as client:
            return client.get(f"https://localhost:{envoy.port}/p/", headers=FORGED)


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Door:
    signer = authority(tmp_path_factory.mktemp("certificates"))
    return Door(
        signer,
        signer.issue("localhost", "localhost"),
        client_certificate(signer, "alice", *ALL_KINDS, subject=HARD_SUBJECT),
    )


@contextmanager
def run_listener(
    door: Door, upstream: Upstream, *, required: bool = True, accepts_untrusted: bool = False
) -> Iterator[LoneEnvoy]:
    change = partial(door.listen, required=required, accepts_untrusted=accepts_untrusted)
    with lone_envoy(upstream, door.engine, [route("p", HEADERS)], change) as envoy:
        yield envoy


@pytest.mark.parametrize("required", [True, False])
def test_the_certificate_comes_whole_and_no_header_of_a_client_counts(
    door: Door, upstream: Upstream, required: bool
) -> None:
    with run_listener(door, upstream, required=required) as envoy:
        for http2 in (False, True):
            assert door.ask(envoy, door.alice, http2=http2).status_code == 200
            assert unquote(door.attributes()[PEER]) == door.alice.pem
            assert "x-forwarded-client-cert" not in door.headers()
            assert upstream.received[-1].value("x-forwarded-client-cert") is None


def test_without_a_certificate_there_is_none_or_no_connection(door: Door, upstream: Upstream) -> None:
    with run_listener(door, upstream, required=False) as envoy:
        assert door.ask(envoy, None).status_code == 200
        assert PEER not in door.attributes()
        assert "x-forwarded-client-cert" not in door.headers()
    with run_listener(door, upstream) as envoy:
        before = len(door.engine.messages)
        with pytest.raises(httpx.TransportError):
            door.ask(envoy, None)
        assert len(door.engine.messages) == before


def test_a_certificate_of_another_authority_is_no_connection(door: Door, upstream: Upstream, tmp_path: Path) -> None:
    stranger = client_certificate(authority(tmp_path), "alice", *ALL_KINDS)
    with run_listener(door, upstream, required=False) as envoy:
        before = len(door.engine.messages)
        with pytest.raises(httpx.TransportError):
            door.ask(envoy, stranger)
        assert len(door.engine.messages) == before


def test_accepted_untrusted_certificates_look_like_others(door: Door, upstream: Upstream, tmp_path: Path) -> None:
    """The reason why no listener has ACCEPT_UNTRUSTED: `%DOWNSTREAM_PEER_CERT%` does not show if it was verified."""
    stranger = client_certificate(authority(tmp_path), "alice")
    with run_listener(door, upstream, required=False, accepts_untrusted=True) as envoy:
        assert door.ask(envoy, stranger).status_code == 200
        assert unquote(door.attributes()[PEER]) == stranger.pem


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=str)
def test_a_session_that_is_resumed_has_its_certificate_still(
    door: Door, upstream: Upstream, version: ssl.TLSVersion
) -> None:
    context = client_tls(door.signer, door.alice)
    context.minimum_version = context.maximum_version = version
    with run_listener(door, upstream) as envoy:
        session, resumed = None, []
        for _ in range(2):
            plain = socket.create_connection(("127.0.0.1", envoy.port))
            with context.wrap_socket(plain, server_hostname="localhost", session=session) as tls:
                tls.sendall(b"GET /p/ HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
                while tls.recv(65536):
                    pass
                session = tls.session
                resumed.append(tls.session_reused)
            assert unquote(door.attributes()[PEER]) == door.alice.pem
        assert resumed == [False, True]


# ---------------------------------------------------------------- the client's address


def status_line(envoy: LoneEnvoy, before: bytes = b"", headers: str = "") -> bytes:
    """The status line of the answer to a request behind these bytes."""
    with socket.create_connection(("127.0.0.1", envoy.port)) as connection:
        connection.sendall(before + f"GET /p/ HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n".encode())
        return connection.recv(65536).partition(b"\r\n")[0]


def test_the_address_is_the_connections_and_not_what_a_client_says(door: Door, upstream: Upstream) -> None:
    with lone_envoy(upstream, door.engine, [route("p", HEADERS)]) as envoy:
        status_line(envoy, headers="x-forwarded-for: 192.0.2.1\r\nx-real-ip: 192.0.2.1\r\nforwarded: for=192.0.2.1\r\n")
    assert door.attributes()["source.address"].startswith("127.0.0.1:")


@pytest.mark.parametrize(
    ("forwarded", "address"), [("192.0.2.9, 192.0.2.1", "192.0.2.1:0"), ("192.0.2.9, 2001:db8::1", "[2001:db8::1]:0")]
)
def test_behind_a_trusted_proxy_the_address_is_the_one_that_the_proxy_saw(
    door: Door, upstream: Upstream, forwarded: str, address: str
) -> None:
    def hops(config: Json) -> None:
        connection_manager(config).update(use_remote_address=True, xff_num_trusted_hops=1)

    def networks(config: Json) -> None:
        trusted = {"cidrs": [{"address_prefix": "127.0.0.0", "prefix_len": 8}]}
        kind = "type.googleapis.com/envoy.extensions.http.original_ip_detection.xff.v3.XffConfig"
        address_config = {"@type": kind, "xff_trusted_cidrs": trusted, "skip_xff_append": False}
        detection = [{"name": "envoy.http.original_ip_detection.xff", "typed_config": address_config}]
        connection_manager(config).update(use_remote_address=False, original_ip_detection_extensions=detection)

    for change in (hops, networks):
        with lone_envoy(upstream, door.engine, [route("p", HEADERS)], change) as envoy:
            status_line(envoy, headers=f"x-forwarded-for: {forwarded}\r\n")
        assert door.attributes()["source.address"] == address, change.__name__


def test_with_the_proxy_protocol_the_address_is_the_one_it_names(door: Door, upstream: Upstream) -> None:
    def change(config: Json) -> None:
        kind = "type.googleapis.com/envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol"
        filters = [{"name": "envoy.filters.listener.proxy_protocol", "typed_config": {"@type": kind}}]
        config["static_resources"]["listeners"][0]["listener_filters"] = filters

    with lone_envoy(upstream, door.engine, [route("p", HEADERS)], change) as envoy:
        status_line(envoy, b"PROXY TCP4 192.0.2.1 192.0.2.2 4711 443\r\n", "x-forwarded-for: 192.0.2.9\r\n")
    assert door.attributes()["source.address"] == "192.0.2.1:4711"
