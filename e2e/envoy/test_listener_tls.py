"""TLS, redirects and trusted proxies of a Gateway's listeners: the real Envoy with the controller's configuration, and
one upstream."""

from __future__ import annotations

import contextlib
import datetime
import json
import socket
import ssl
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import h2.connection
import h2.events
import pytest

from e2e.envoy.lone_listeners import LoneListeners, lone_listeners
from e2e.kit.certificates import Authority, authority
from e2e.kit.client_certificates import client_certificate
from e2e.kit.gateway import Json, eventually
from e2e.kit.raw_http import Answer, RefusedError, connected, receive_answer, request
from e2e.kit.upstream import Upstream

pytestmark = pytest.mark.timeout(60)


# ---------------------------------------------------------------- TLS


@pytest.fixture(scope="module")
def trusted_authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("trusted"))


@pytest.fixture(scope="module")
def unknown_authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("stranger"), "stranger")


@pytest.fixture(scope="module")
def tls_listeners(trusted_authority: Authority, recording_upstream: Upstream) -> Iterator[LoneListeners]:
    hosts = ["api.example.com", "*.example.com"]
    settings = {"authority": "partners"}
    spec = {
        "listeners": [
            {"name": "open", "redirect": {}},
            {"name": "moved", "port": 8081, "redirect": {"port": 8443, "status": 301}},
            {"name": "hosts", "port": 8082, "hosts": hosts},
            https("public", 8443, hosts=hosts, certificates=["main", "wildcard"]),
            https("new", 8444, minVersion="1.3"),
            https("partners", 8445, clientCertificates=settings),
            https("mixed", 8446, clientCertificates={"mode": "request", **settings}),
            https("few", 8447, ciphers=["ECDHE-ECDSA-AES256-GCM-SHA384"], sessionResumption=False),
        ]
    }
    certificates = {
        "main": trusted_authority.issue("main", "api.example.com", "127.0.0.1"),
        "wildcard": trusted_authority.issue("wildcard", "*.example.com"),
    }
    with lone_listeners(spec, recording_upstream.port, certificates, partners=trusted_authority.file) as listeners:
        yield listeners


def https(name: str, port: int, hosts: list[str] | None = None, **tls: object) -> Json:
    return {
        "name": name, "port": port, "protocol": "https", "hosts": hosts or [], "tls": {"certificates": ["main"], **tls}
    }  # fmt: skip


def client(trusted: Authority, certificate: tuple[Path, Path] | None = None, *alpn: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(trusted.file)
    context.set_alpn_protocols(list(alpn) or ["http/1.1"])
    if certificate:
        context.load_cert_chain(*certificate)
    return context


@pytest.mark.parametrize(
    ("name", "host", "location"),
    [
        ("open", "a.example", "https://a.example/x?y=%2F1"),
        ("open", "a.example:80", "https://a.example/x?y=%2F1"),
        ("moved", "a.example:8081", "https://a.example:8443/x?y=%2F1"),
    ],
)
def test_a_redirect_keeps_host_path_and_query(
    tls_listeners: LoneListeners, name: str, host: str, location: str
) -> None:
    answer = request(tls_listeners.ports[name], host, path="/x?y=%2F1")
    assert (answer.status, answer.headers["location"]) == ({"open": 308, "moved": 301}[name], location)


@pytest.mark.parametrize(
    ("server_name", "certificate"),
    [
        ("api.example.com", "api.example.com"),
        ("b.example.com", "*.example.com"),
    ],
)
def test_the_server_name_decides_on_the_certificate(
    tls_listeners: LoneListeners, trusted_authority: Authority, server_name: str, certificate: str
) -> None:
    answer = request(tls_listeners.ports["public"], server_name, tls=client(trusted_authority), server_name=server_name)
    assert answer.status == 200
    assert answer.tls
    assert certificate in answer.tls.names


@pytest.mark.parametrize("server_name", ["other.example", "example.com", None])
def test_another_server_name_is_not_connected(
    tls_listeners: LoneListeners, trusted_authority: Authority, server_name: str | None
) -> None:
    context = client(trusted_authority)
    context.check_hostname = False
    with pytest.raises(RefusedError):
        request(tls_listeners.ports["public"], "api.example.com", tls=context, server_name=server_name)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("api.example.com", 200),
        ("API.example.COM:8443", 200),
        ("a.b.example.com", 200),
        ("example.com", 421),
        (".example.com", 421),
        ("api.example.com.evil.example", 421),
        ("apixexample.com", 421),
        ("evil.example", 421),
        ("api.example.com:x", 421),
        ("api.example.com, evil.example", 400),
    ],
)
def test_another_host_is_421(
    tls_listeners: LoneListeners, trusted_authority: Authority, upstream: Upstream, host: str, status: int
) -> None:
    for answer in (
        request(tls_listeners.ports["public"], host, tls=client(trusted_authority), server_name="api.example.com"),
        request(tls_listeners.ports["hosts"], host),
    ):
        assert answer.status == status
        if status != 200:
            assert answer.headers["content-type"] == "application/problem+json"
            assert json.loads(answer.body)["status"] == status
    assert len(upstream.received) == (2 if status == 200 else 0)


def test_versions_and_ciphers_are_those_of_the_listener(
    tls_listeners: LoneListeners, trusted_authority: Authority
) -> None:
    def spoken(name: str, newest: ssl.TLSVersion, ciphers: str = "") -> tuple[str, str]:
        context = client(trusted_authority)
        context.maximum_version = newest
        if ciphers:
            context.set_ciphers(ciphers)
        answer = request(tls_listeners.ports[name], "api.example.com", tls=context, server_name="api.example.com")
        assert answer.tls
        return answer.tls.version, answer.tls.cipher

    assert spoken("public", ssl.TLSVersion.TLSv1_3)[0] == "TLSv1.3"
    assert spoken("public", ssl.TLSVersion.TLSv1_2) == ("TLSv1.2", "ECDHE-ECDSA-AES128-GCM-SHA256")
    assert spoken("few", ssl.TLSVersion.TLSv1_2) == ("TLSv1.2", "ECDHE-ECDSA-AES256-GCM-SHA384")
    for name, ciphers in (("new", ""), ("public", "ECDHE-ECDSA-AES128-SHA"), ("few", "ECDHE-ECDSA-CHACHA20-POLY1305")):
        with pytest.raises(RefusedError):
            spoken(name, ssl.TLSVersion.TLSv1_2, ciphers)


def test_tls_before_1_2_is_not_spoken(tls_listeners: LoneListeners) -> None:
    """By hand: a Python that is new enough does not offer it any more. RFC 8446, 6.2: protocol_version is 70."""
    random = bytes(32)
    body = b"\x03\x02" + random + b"\x00" + b"\x00\x04\xc0\x09\xc0\x13" + b"\x01\x00"
    hello = b"\x01" + len(body).to_bytes(3, "big") + body
    with connected(tls_listeners.ports["new"]) as connection:
        connection.sendall(b"\x16\x03\x01" + len(hello).to_bytes(2, "big") + hello)
        assert connection.recv(100)[3:] == b"\x00\x02\x02\x46"


def test_http2_is_negotiated(tls_listeners: LoneListeners, trusted_authority: Authority) -> None:
    with connected(
        tls_listeners.ports["public"], client(trusted_authority, None, "h2", "http/1.1"), "api.example.com"
    ) as connection:
        assert isinstance(connection, ssl.SSLSocket)
        assert connection.selected_alpn_protocol() == "h2"
        http2 = h2.connection.H2Connection()
        http2.initiate_connection()
        headers = [(":method", "GET"), (":scheme", "https"), (":authority", "b.example.com"), (":path", "/x")]
        http2.send_headers(1, headers, end_stream=True)
        connection.sendall(http2.data_to_send())
        events: list[h2.events.Event] = []
        while not any(isinstance(event, h2.events.StreamEnded) for event in events):
            events += http2.receive_data(connection.recv(65536))
        (answered,) = [event for event in events if isinstance(event, h2.events.ResponseReceived)]
        assert (b":status", b"200") in list(answered.headers or [])


@pytest.mark.parametrize(("name", "client_name", "admitted"), [
    ("partners", "nobody", False), ("partners", "partner", True), ("partners", "stranger", False),
    ("mixed", "nobody", True), ("mixed", "partner", True), ("mixed", "stranger", False),
    ("public", "stranger", True),
])  # fmt: skip
def test_client_certificates(
    tls_listeners: LoneListeners,
    trusted_authority: Authority,
    unknown_authority: Authority,
    name: str,
    client_name: str,
    admitted: bool,
) -> None:
    certificates = {
        "nobody": None,
        "partner": trusted_authority.issue("partner", "p"),
        "stranger": unknown_authority.issue("stranger", "p"),
    }
    context = client(trusted_authority, certificates[client_name])
    if admitted:
        answer = request(tls_listeners.ports[name], "api.example.com", tls=context, server_name="api.example.com")
        assert answer.status == 200
    else:
        with pytest.raises(RefusedError):
            request(tls_listeners.ports[name], "api.example.com", tls=context, server_name="api.example.com")


def test_sessions_are_resumed_unless_it_is_disabled(tls_listeners: LoneListeners, trusted_authority: Authority) -> None:
    for name, resumed in (("public", True), ("few", False)):
        context = client(trusted_authority)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        with connected(tls_listeners.ports[name], context, "api.example.com") as first:
            assert isinstance(first, ssl.SSLSocket)
            session = first.session
        with connected(tls_listeners.ports[name], context, "api.example.com", session=session) as again:
            assert isinstance(again, ssl.SSLSocket)
            assert again.session_reused is resumed


def test_an_expired_client_certificate_ends_with_its_connection(
    trusted_authority: Authority, upstream: Upstream
) -> None:
    """Envoy looks at a certificate in the handshake alone: the age of connections bounds how long it counts."""
    spec = {"listeners": [https("partners", 8443, clientCertificates={"authority": "partners"}), https("open", 8444)]}
    certificates_seen: dict[str, str | None] = {}

    def age_by_seconds(listener: Json) -> None:
        options = listener["filter_chains"][0]["filters"][-1]["typed_config"]["common_http_protocol_options"]
        certificates_seen[listener["name"]] = options.get("max_connection_duration")
        if listener["name"] == "partners":
            options["max_connection_duration"] = "2s"

    own = {"main": trusted_authority.issue("main", "api.example.com")}
    with lone_listeners(spec, upstream.port, own, age_by_seconds, partners=trusted_authority.file) as listeners:
        assert certificates_seen == {"partners": "900s", "open": None}
        certificate = client_certificate(trusted_authority, "brief", lasts=datetime.timedelta(seconds=6))
        context = client(trusted_authority, (certificate.file, certificate.key_file))
        connections = 0
        while ask_until_closed(listeners.ports["partners"], context):
            connections += 1
        assert connections > 0, "expected a connection while the certificate was good"
        late = datetime.datetime.now(datetime.UTC) - certificate.certificate.not_valid_after_utc
        assert datetime.timedelta(0) <= late < datetime.timedelta(seconds=20)


def ask_until_closed(port: int, context: ssl.SSLContext) -> bool:
    """Requests on one connection, one behind the other, until the gateway ends it. Whether it has answered any."""
    answered = False
    with contextlib.suppress(OSError, RefusedError), connected(port, context, "api.example.com") as connection:
        while ask(connection).headers.get("connection") != "close":
            answered = True
            time.sleep(0.05)
    return answered


def ask(connection: socket.socket) -> Answer:
    connection.sendall(b"GET /x HTTP/1.1\r\nHost: api.example.com\r\n\r\n")
    return receive_answer(connection)


# ---------------------------------------------------------------- client_name the client is


@pytest.fixture(scope="module")
def proxied_listeners(recording_upstream: Upstream) -> Iterator[LoneListeners]:
    spec = {
        "listeners": [{"name": "http"}, {"name": "tcp", "port": 8081, "proxyProtocol": True}],
        "trustedProxies": {"networks": ["127.0.0.2", "10.0.0.0/8"]},
    }
    with lone_listeners(spec, recording_upstream.port) as listeners:
        yield listeners


def client_of(listeners: LoneListeners, path: str) -> str:
    """The client in the access line of a path."""
    clients: list[str] = []

    def look() -> bool:
        clients.extend(record["client"] for record in map(json.loads, listeners.lines()) if record["path"] == path)
        return bool(clients)

    eventually("there is a line", look)
    return clients[0].rsplit(":", 1)[0]


@pytest.mark.parametrize(("source", "forwarded", "address"), [
    ("127.0.0.1", "", "127.0.0.1"),
    ("127.0.0.1", "1.1.1.1", "127.0.0.1"),
    ("127.0.0.1", "1.1.1.1, 127.0.0.2", "127.0.0.1"),
    ("127.0.0.2", "", "127.0.0.2"),
    ("127.0.0.2", "1.1.1.1", "1.1.1.1"),
    ("127.0.0.2", "6.6.6.6, 9.9.9.9, 10.0.0.1", "9.9.9.9"),
    ("127.0.0.2", "10.0.0.3", "10.0.0.3"),
    ("127.0.0.2", "nonsense", "127.0.0.2"),
])  # fmt: skip
def test_the_client_behind_trusted_proxies_is_logged(
    proxied_listeners: LoneListeners, source: str, forwarded: str, address: str
) -> None:
    path = f"/{uuid.uuid4()}"
    headers = {"x-forwarded-for": forwarded} if forwarded else {}
    assert request(proxied_listeners.ports["http"], source=source, path=path, headers=headers).status == 200
    assert client_of(proxied_listeners, path) == address


def test_only_trusted_proxies_set_the_clients_protocol(proxied_listeners: LoneListeners, upstream: Upstream) -> None:
    for source in ("127.0.0.1", "127.0.0.2"):
        request(proxied_listeners.ports["http"], source=source, headers={"x-forwarded-proto": "https"})
    assert [forwarded_request.value("x-forwarded-proto") for forwarded_request in upstream.received] == [
        "http",
        "https",
    ]


@pytest.mark.parametrize(("source", "first", "address"), [
    ("127.0.0.2", b"PROXY TCP4 8.8.8.8 127.0.0.1 5555 80\r\n", "8.8.8.8"),
    ("127.0.0.2", b"PROXY TCP4 10.1.1.1 127.0.0.1 5555 80\r\n", "9.9.9.9"),
    ("127.0.0.2", b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\x08\x08\x04\x04\x7f\x00\x00\x01\x00\x09\x00\x50", "8.8.4.4"),
    ("127.0.0.2", b"", ""),
    ("127.0.0.2", b"PROXY TCP4 nonsense\r\n", ""),
    ("127.0.0.1", b"", ""),
    ("127.0.0.1", b"PROXY TCP4 8.8.8.8 127.0.0.1 5555 80\r\n", ""),
    ("127.0.0.1", b"PROXY TCP4 127.0.0.2 127.0.0.1 5555 80\r\n", ""),
])  # fmt: skip
def test_the_client_in_a_proxy_protocol_header_is_logged(
    proxied_listeners: LoneListeners, source: str, first: bytes, address: str
) -> None:
    path = f"/{uuid.uuid4()}"
    if not address:
        with pytest.raises(RefusedError):
            request(proxied_listeners.ports["tcp"], source=source, first=first)
        return
    headers = {"x-forwarded-for": "9.9.9.9"}
    assert request(proxied_listeners.ports["tcp"], source=source, first=first, path=path, headers=headers).status == 200
    assert client_of(proxied_listeners, path) == address


def test_the_client_behind_a_number_of_proxies_is_logged(upstream: Upstream) -> None:
    with lone_listeners({"trustedProxies": {"hops": 1}}, upstream.port) as listeners:
        assert request(listeners.ports["http"], headers={"x-forwarded-for": "6.6.6.6, 9.9.9.9"}).status == 200
        assert client_of(listeners, "/x") == "9.9.9.9"
