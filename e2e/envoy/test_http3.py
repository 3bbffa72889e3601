"""HTTP/3: its clients are served by the listener's rules and limits, and clients over TCP learn of it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

import pytest
from aioquic.tls import SessionTicket

from e2e.envoy.lone_listeners import LoneListeners, lone_listeners
from e2e.envoy.test_listener_tls import client
from e2e.kit import raw_http
from e2e.kit.certificates import Authority, authority
from e2e.kit.gateway import Json, eventually
from e2e.kit.http3 import Answer, RefusedError, ResetError, connected, until
from e2e.kit.upstream import Reply, Upstream

pytestmark = pytest.mark.timeout(120)
T = TypeVar("T")
GET = [(":method", "GET"), (":scheme", "https"), (":authority", "127.0.0.1"), (":path", "/odd")]


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(coroutine)


@pytest.fixture(scope="module")
def trusted_authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("trusted"))


@pytest.fixture(scope="module")
def unknown_authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("stranger"), "stranger")


def https(
    name: str, port: int, *, certificates: tuple[str, ...] = ("main",), tls: Json | None = None, **more: object
) -> Json:
    secured = {"certificates": list(certificates), **(tls or {})}
    return {"name": name, "port": port, "protocol": "https", "http3": True, "tls": secured, **more}


@pytest.fixture(scope="module")
def tls_listeners(trusted_authority: Authority, recording_upstream: Upstream) -> Iterator[LoneListeners]:
    settings = {"authority": "partners"}
    fields = ("path", "client", "protocol", "serverName", "tlsVersion", "listener", "peerSubject", "peerFingerprint")
    spec = {
        "listeners": [
            https("open", 8443),
            https("hosts", 8444, certificates=("main", "wildcard"), hosts=["api.example.com", "*.example.com"]),
            https("partners", 8445, tls={"clientCertificates": settings}),
            https("mixed", 8446, tls={"clientCertificates": {"mode": "request", **settings}}),
            https("few", 8447, limits={"connections": 1}),
            https("anew", 8448, tls={"sessionResumption": False}),
        ],
        "trustedProxies": {"networks": ["127.0.0.2"]},
        "limits": {"requestsPerSecond": 50, "headerBytes": 8192, "concurrentStreams": 7},
        "accessLog": {"fields": {name: name for name in fields}},
    }
    certificates = {
        "main": trusted_authority.issue("main", "api.example.com", "127.0.0.1"),
        "wildcard": trusted_authority.issue("wildcard", "*.example.com"),
    }
    with lone_listeners(spec, recording_upstream.port, certificates, partners=trusted_authority.file) as listeners:
        yield listeners


class Asker:
    """Sends requests to one listener over HTTP/3."""

    def __init__(self, listeners: LoneListeners, trusted: Authority, name: str) -> None:
        self.port, self.trusted = listeners.ports[f"{name}/http3"], trusted.file

    async def get(self, path: str, *headers: tuple[str, str], host: str = "127.0.0.1", **how: Any) -> Answer:
        async with connected(self.port, self.trusted, **how) as connection:
            return await connection.get(path, *headers, host=host)


def line(listeners: LoneListeners, path: str) -> Json:
    """The record of the access log about a path."""
    records: list[Json] = []

    def look() -> bool:
        records.extend(record for record in map(json.loads, listeners.lines()) if record["path"] == path)
        return bool(records)

    eventually("there is a line", look)
    return records[0]


# ---------------------------------------------------------------- what TCP says


def test_answers_over_tcp_advertise_http3(tls_listeners: LoneListeners, trusted_authority: Authority) -> None:
    """The port is the listener's, whichever the test got: 8444. Envoy's own answers too; not those over HTTP/3."""
    for host, status in (("api.example.com", 200), ("evil.example", 421)):
        answer = raw_http.request(
            tls_listeners.ports["hosts"], host, tls=client(trusted_authority), server_name="api.example.com"
        )
        assert answer.status == status
        assert answer.headers["alt-svc"] == 'h3=":8444"; ma=86400'
    coroutine = Asker(tls_listeners, trusted_authority, "hosts").get(
        "/x", server_name="api.example.com", host="api.example.com"
    )
    assert "alt-svc" not in run(coroutine).headers


def test_alternatives_advertised_by_upstreams_are_replaced(
    tls_listeners: LoneListeners, trusted_authority: Authority, upstream: Upstream
) -> None:
    upstream.reply = lambda _: Reply(200, [("alt-svc", 'h3=":9"')])
    answer = raw_http.request(tls_listeners.ports["open"], tls=client(trusted_authority), server_name="127.0.0.1")
    assert answer.headers["alt-svc"] == 'h3=":8443"; ma=86400'


# ---------------------------------------------------------------- TLS


@pytest.mark.parametrize("name", ["api.example.com", "b.example.com"])
def test_the_server_name_decides_on_the_certificate(
    tls_listeners: LoneListeners, trusted_authority: Authority, name: str
) -> None:
    """aioquic checks that the certificate has the name."""
    coroutine = Asker(tls_listeners, trusted_authority, "hosts").get(f"/{name}", server_name=name, host=name)
    assert run(coroutine).status == 200
    record = line(tls_listeners, f"/{name}")
    assert {key: record[key] for key in ("protocol", "serverName", "tlsVersion", "listener")} == {
        "protocol": "HTTP/3", "serverName": name, "tlsVersion": "TLSv1.3", "listener": "hosts",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["other.example", "example.com"])
def test_another_server_name_is_not_connected(
    tls_listeners: LoneListeners, trusted_authority: Authority, name: str
) -> None:
    with pytest.raises(RefusedError):
        run(
            Asker(tls_listeners, trusted_authority, "hosts").get(
                "/x", server_name=name, host="api.example.com", seconds=1
            )
        )


@pytest.mark.parametrize(
    ("host", "status"), [("api.example.com:8443", 200), ("evil.example", 421), ("example.com", 421)]
)
def test_another_host_is_421(
    tls_listeners: LoneListeners, trusted_authority: Authority, upstream: Upstream, host: str, status: int
) -> None:
    answer = run(Asker(tls_listeners, trusted_authority, "hosts").get("/x", server_name="api.example.com", host=host))
    assert answer.status == status
    assert len(upstream.received) == (1 if status == 200 else 0)


@pytest.mark.parametrize(("name", "client_name", "admitted"), [
    ("partners", "nobody", False), ("partners", "partner", True), ("partners", "stranger", False),
    ("mixed", "nobody", True), ("mixed", "partner", True), ("mixed", "stranger", False),
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
    path = f"/{name}/{client_name}"
    coroutine = Asker(tls_listeners, trusted_authority, name).get(path, certificate=certificates[client_name])
    if not admitted:
        with pytest.raises(RefusedError):
            run(coroutine)
        return
    assert run(coroutine).status == 200
    assert line(tls_listeners, path).get("peerSubject") == (None if client_name == "nobody" else "CN=partner")


@pytest.mark.parametrize(("name", "resumed"), [("open", True), ("anew", False), ("partners", False), ("mixed", False)])
def test_sessions_resume_only_without_client_certificates(
    tls_listeners: LoneListeners, trusted_authority: Authority, name: str, resumed: bool
) -> None:
    """And nothing is taken before a handshake has ended: no ticket allows early data."""
    port, certificate = tls_listeners.ports[f"{name}/http3"], trusted_authority.issue("again", "p")

    async def twice() -> tuple[list[SessionTicket], bool]:
        tickets: list[SessionTicket] = []
        async with connected(port, trusted_authority.file, certificate=certificate, tickets=tickets) as first:
            for _ in range(2):  # a ticket comes with the first answer, or not at all
                await first.get("/x")
            if resumed:
                await until(lambda: tickets)
        if not tickets:
            return tickets, False
        async with connected(port, trusted_authority.file, certificate=certificate, ticket=tickets[0]) as second:
            await second.get("/x")
            return tickets, second.resumed

    tickets, again = run(twice())
    assert again is resumed
    assert bool(tickets) is resumed
    assert not [ticket for ticket in tickets if ticket.max_early_data_size]


# ---------------------------------------------------------------- client_name the client is, and how much it may


@pytest.mark.parametrize("source", ["127.0.0.1", "127.0.0.2"])
def test_the_clients_address_is_the_connections(
    tls_listeners: LoneListeners, trusted_authority: Authority, upstream: Upstream, source: str
) -> None:
    """The second one is a trusted proxy, over TCP."""
    headers = ("x-forwarded-for", "9.9.9.9"), ("x-forwarded-proto", "http")
    assert (
        run(Asker(tls_listeners, trusted_authority, "open").get(f"/from/{source}", *headers, source=source)).status
        == 200
    )
    assert line(tls_listeners, f"/from/{source}")["client"].rsplit(":", 1)[0] == source
    assert upstream.received[0].value("x-forwarded-proto") == "https"


def test_no_forwarded_address_is_trusted(trusted_authority: Authority, upstream: Upstream) -> None:
    spec = {"listeners": [https("open", 8443)], "trustedProxies": {"hops": 1}}
    with lone_listeners(spec, upstream.port, {"main": trusted_authority.issue("main", "127.0.0.1")}) as listeners:
        coroutine = Asker(listeners, trusted_authority, "open").get(
            "/hop", ("x-forwarded-for", "9.9.9.9"), ("x-real-ip", "9.9.9.9")
        )
        assert run(coroutine).status == 200
        assert upstream.received[-1].value("x-real-ip") is None
        assert line(listeners, "/hop")["client"].rsplit(":", 1)[0] == "127.0.0.1"


def test_connections_of_a_listener_are_limited(tls_listeners: LoneListeners, trusted_authority: Authority) -> None:
    port = tls_listeners.ports["few/http3"]

    async def two() -> None:
        async with connected(port, trusted_authority.file) as first:
            assert (await first.get("/x")).status == 200
            with pytest.raises(RefusedError):
                async with connected(port, trusted_authority.file, seconds=1):
                    pass
            assert (await first.get("/x")).status == 200

    run(two())


def test_connection_limits_count_per_listener(trusted_authority: Authority, upstream: Upstream) -> None:
    """Envoy counts those of TCP alone."""
    spec = {"listeners": [https("open", 8443)], "limits": {"connections": 1}}

    async def two(port: int) -> None:
        async with connected(port, trusted_authority.file) as first:
            assert (await first.get("/x")).status == 200
            with pytest.raises(RefusedError):
                async with connected(port, trusted_authority.file, seconds=1):
                    pass

    with lone_listeners(spec, upstream.port, {"main": trusted_authority.issue("main", "127.0.0.1")}) as listeners:
        run(two(listeners.ports["open/http3"]))


def test_requests_in_a_second_are_limited(trusted_authority: Authority, upstream: Upstream) -> None:
    """The limit is lower than the rate of even a slow machine."""

    async def many(port: int) -> list[int]:
        async with connected(port, trusted_authority.file) as connection:
            return [(await connection.get("/x")).status for _ in range(20)]

    spec = {"listeners": [https("open", 8443)], "limits": {"requestsPerSecond": 2}}
    with lone_listeners(spec, upstream.port, {"main": trusted_authority.issue("main", "127.0.0.1")}) as listeners:
        answers = run(many(listeners.ports["open/http3"]))
    assert set(answers[:2]) == {200}
    assert 429 in answers


def test_clients_receive_the_limit_of_streams(tls_listeners: LoneListeners, trusted_authority: Authority) -> None:
    async def streams_allowed() -> int:
        async with connected(tls_listeners.ports["open/http3"], trusted_authority.file) as connection:
            await connection.get("/x")
            return connection.streams_allowed

    assert run(streams_allowed()) in range(7, 9)  # a finished stream makes place for another


def hurry_quic(listener: Json) -> None:
    """Three seconds of silence in the place of minutes, and a sign of life asked for after one."""
    if (quic := listener.get("udp_listener_config")) is None:
        return
    assert quic["quic_options"]["idle_timeout"] == "300s"
    quic["quic_options"]["idle_timeout"] = "3s"
    for chain in listener["filter_chains"]:
        options = chain["filters"][-1]["typed_config"]["http3_protocol_options"]["quic_protocol_options"]
        assert set(options["connection_keepalive"].values()) == {"60s"}
        options["connection_keepalive"] = dict.fromkeys(options["connection_keepalive"], "1s")


def test_an_answer_may_pause_for_longer_than_a_client_may_be_silent(
    trusted_authority: Authority, upstream: Upstream
) -> None:
    """A live client answers probes; a vanished one is disconnected after that time."""

    def slow(_: object) -> Reply:
        time.sleep(5)
        return Reply(200, [], b"at last")

    upstream.reply = slow

    async def ask(port: int) -> bytes:
        async with connected(port, trusted_authority.file) as connection:
            return (await connection.get("/x")).body

    async def vanish(port: int) -> None:
        async with connected(port, trusted_authority.file) as connection:
            await connection.get("/x")
            connection.vanish()

    spec = {"listeners": [https("open", 8443)]}
    certificates = {"main": trusted_authority.issue("main", "127.0.0.1")}
    with lone_listeners(spec, upstream.port, certificates, hurry_quic) as listeners:
        port = listeners.ports["open/http3"]
        assert run(ask(port)) == b"at last"
        upstream.reset()
        run(vanish(port))
        eventually("it is gone", lambda: listeners.stat("^http.gatewright.downstream_cx_active$") == 0, 15)


# ---------------------------------------------------------------- requests that are refused


@pytest.mark.parametrize("headers", [
    [*GET, (":authority", "evil.example")],
    [*GET, ("host", "evil.example")],
    [*GET, ("x-a", "1"), (":path", "/evil")],
    [*GET, (":path", "/evil")],
    GET[:3],
    [GET[0], GET[1], GET[3]],
    [*GET, ("transfer-encoding", "chunked")],
    [*GET, ("connection", "x-a")],
    [*GET, ("X-A", "1")],
    [*GET, ("x_a", "1")],
    [*GET, ("x-a", "1\n2")],
    [*GET, ("content-length", "5")],
    [*GET, ("x-a", "1" * 9000)],
    [*GET, *((f"x-{number}", "1") for number in range(300))],
    [(":method", "CONNECT"), (":protocol", "websocket"), *GET[1:]],
    [*GET[:3], (":path", "odd")],
], ids=lambda headers: "+".join(name for name, _ in headers[:7]).replace(":", "_"))  # fmt: skip
def test_malformed_requests_reach_no_upstream(
    tls_listeners: LoneListeners, trusted_authority: Authority, upstream: Upstream, headers: list[tuple[str, str]]
) -> None:
    """The stream or the connection ends, as RFC 9114, 4.1.2 has it; the next one is served."""

    async def ask() -> int:
        async with connected(tls_listeners.ports["open/http3"], trusted_authority.file) as connection:
            return (await connection.begin(headers, end=True).whole()).status

    try:
        status = run(ask())
    except (RefusedError, ResetError):
        status = 400
    assert 400 <= status < 500
    assert upstream.received == []
    assert run(Asker(tls_listeners, trusted_authority, "open").get("/x")).status == 200


def test_clients_cannot_send_headers_that_control_envoy(
    tls_listeners: LoneListeners, trusted_authority: Authority, upstream: Upstream
) -> None:
    forged = [
        ("x-gatewright-peer", "CN=root"), ("x-envoy-upstream-rq-timeout-ms", "1"), ("x-forwarded-host", "evil.example"),
        ("x-forwarded-client-cert", "Subject=CN=root"), ("x-real-ip", "9.9.9.9"), ("forwarded", "for=9.9.9.9"),
        ("x-ssl-client-verify", "SUCCESS"), ("x-mine", "1"),
    ]  # fmt: skip
    run(
        Asker(tls_listeners, trusted_authority, "mixed").get(
            "/x", *forged, certificate=trusted_authority.issue("partner", "p")
        )
    )
    (received,) = upstream.received
    assert received.value("x-mine") == "1"
    names = {name.decode() for name, _ in received.headers}
    assert not names & {name for name, _ in forged if name != "x-mine"}
