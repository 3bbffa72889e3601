"""Client certificates that some hosts of a listener ask for and others do not: the real Envoy, over HTTP/1.1, 2 and 3.

No client gets past them: not by another host in the request than in the handshake, in whatever spelling, and not by a
session of another host.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import h2.config
import h2.connection
import h2.events
import pytest
from aioquic.tls import SessionTicket

from e2e.envoy.lone_listeners import LoneListeners, lone_listeners
from e2e.kit import http3
from e2e.kit.certificates import Authority, authority
from e2e.kit.client_certificates import ClientCertificate, client_certificate
from e2e.kit.gateway import Json, eventually, fresh_name
from e2e.kit.raw_http import RefusedError, connected, receive_answer
from e2e.kit.upstream import Upstream

pytestmark = pytest.mark.timeout(120)
WWW, PARTNERS, STAFF, GUESTS = "www.example.com", "partners.example.com", "a.staff.example.com", "guests.example.com"
EVERY = (WWW, PARTNERS, STAFF, GUESTS)
VERSIONS = pytest.mark.parametrize("version", [1, 2, 3])
Pairs = list[tuple[str, str]]


@dataclass
class Door:
    """Two listeners with the same rules: `any` has every host, `named` has hosts of its own.

    certificates: of clients, by name. path: of all requests.
    """

    listeners: LoneListeners
    signer: Authority
    certificates: dict[str, ClientCertificate]
    path: str = "/x"

    def ask(
        self, version: int, server_name: str | None, host: str, client_name: str = "nobody", listener: str = "any"
    ) -> tuple[int, bytes]:
        """Sends one request on a connection of its own. Raises `RefusedError`."""
        (answer,) = self.ask_all(version, server_name, [host], client_name, listener)
        return answer

    def ask_all(
        self,
        version: int,
        server_name: str | None,
        hosts: list[str],
        client_name: str = "nobody",
        listener: str = "any",
    ) -> list[tuple[int, bytes]]:
        """Requests for these hosts on one connection, one after the other."""
        return self.send_all(version, server_name, [[(":authority", host)] for host in hosts], client_name, listener)

    def send_all(
        self, version: int, server_name: str | None, requests: list[Pairs], client_name: str, listener: str = "any"
    ) -> list[tuple[int, bytes]]:
        """Requests with these headers beside method, scheme and path."""
        if version == 3:
            return asyncio.run(self._over_http3(server_name, requests, client_name, listener))
        try:
            context = self.context(client_name, "h2" if version == 2 else "http/1.1")
            with connected(self.listeners.ports[listener], context, server_name) as connection:
                if version == 2:
                    return _over_http2(connection, self.path, requests)
                return [_over_http1(connection, self.path, headers) for headers in requests]
        except OSError as error:
            raise RefusedError(str(error)) from None

    def context(self, client_name: str, *alpn: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False  # the tests say any server name
        context.load_verify_locations(self.signer.file)
        context.set_alpn_protocols(list(alpn))
        if certificate := self.certificates.get(client_name):
            context.load_cert_chain(certificate.file, certificate.key_file)
        return context

    async def _over_http3(
        self, server_name: str | None, requests: list[Pairs], client_name: str, listener: str
    ) -> list[tuple[int, bytes]]:
        certificate, answers = self.certificates.get(client_name), []
        files = (certificate.file, certificate.key_file) if certificate else None
        port = self.listeners.ports[f"{listener}/http3"]
        try:
            async with http3.connected(port, self.signer.file, server_name=server_name, certificate=files) as client:
                for headers in requests:
                    begun = [(":method", "GET"), (":scheme", "https"), (":path", self.path), *headers]
                    answer = await client.begin(begun, end=True).whole()
                    answers.append((answer.status, answer.body))
        except (http3.RefusedError, http3.ResetError) as error:
            raise RefusedError(str(error)) from None
        return answers


def _over_http1(connection: object, path: str, headers: Pairs) -> tuple[int, bytes]:
    assert isinstance(connection, ssl.SSLSocket)
    lines = "".join(f"{'Host' if name == ':authority' else name}: {value}\r\n" for name, value in headers)
    connection.sendall(f"GET {path} HTTP/1.1\r\n{lines}\r\n".encode())
    answer = receive_answer(connection)
    return answer.status, answer.body


def _over_http2(connection: object, path: str, requests: list[Pairs]) -> list[tuple[int, bytes]]:
    assert isinstance(connection, ssl.SSLSocket)
    assert connection.selected_alpn_protocol() == "h2"
    http2 = h2.connection.H2Connection(h2.config.H2Configuration(validate_outbound_headers=False))
    http2.initiate_connection()
    answers = []
    for headers in requests:
        stream = http2.get_next_available_stream_id()
        http2.send_headers(stream, [(":method", "GET"), (":scheme", "https"), (":path", path), *headers], True)
        connection.sendall(http2.data_to_send())
        status, body, ended = 0, b"", False
        while not ended:
            if not (piece := connection.recv(65536)):
                raise RefusedError("closed")
            for event in http2.receive_data(piece):
                if isinstance(event, h2.events.ResponseReceived):
                    status = int(dict(event.headers or [])[b":status"])
                elif isinstance(event, h2.events.DataReceived):
                    body += event.data or b""
                elif isinstance(event, h2.events.StreamReset | h2.events.ConnectionTerminated):
                    raise RefusedError(str(event))
                ended = ended or isinstance(event, h2.events.StreamEnded)
            connection.sendall(http2.data_to_send())
        answers.append((status, body))
    return answers


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory, recording_upstream: Upstream) -> Iterator[Door]:
    place = tmp_path_factory.mktemp("door")
    signer, partners, staff = (authority(place, name) for name in ("authority", "partners", "staff"))
    by_host = {
        PARTNERS: {"authority": "partners"},
        "*.staff.example.com": {"authority": "staff"},
        GUESTS: {"mode": "request", "authority": "partners"},
    }
    listeners: list[Json] = [
        {
            "name": name, "port": 8443 + at, "protocol": "https", "http3": True, "hosts": hosts,
            "tls": {"certificates": ["main"], "clientCertificatesByHost": by_host},
        }
        for at, (name, hosts) in enumerate({"any": [], "named": ["*.example.com", PARTNERS]}.items())
    ]  # fmt: skip
    certificates = {"main": signer.issue("main", *EVERY, "127.0.0.1")}
    client_name = {
        "partner": client_certificate(partners, "partner"),
        "employee": client_certificate(staff, "employee"),
    }
    fields = {name: name for name in ("path", "authority", "serverName", "peerSubject", "status")}
    spec: Json = {"listeners": listeners, "accessLog": {"fields": fields}}
    upstream = recording_upstream.port
    with lone_listeners(spec, upstream, certificates, partners=partners.file, staff=staff.file) as opened:
        yield Door(opened, signer, client_name)


LISTENERS = pytest.mark.parametrize("listener", ["any", "named"])


@VERSIONS
@LISTENERS
@pytest.mark.parametrize(
    ("host", "admitted"),
    [(WWW, "nobody partner employee"), (PARTNERS, "partner"), (STAFF, "employee"), (GUESTS, "nobody partner")],
)
def test_each_host_asks_for_its_own_certificates(
    door: Door, upstream: Upstream, version: int, listener: str, host: str, admitted: str
) -> None:
    """A host that asks for none does not look at what a client would show."""
    for client_name in ("nobody", "partner", "employee"):
        before = len(upstream.received)
        if client_name in admitted.split():
            assert door.ask(version, host, host, client_name, listener)[0] == 200
            assert len(upstream.received) == before + 1
        else:
            with pytest.raises(RefusedError):
                door.ask(version, host, host, client_name, listener)
            assert len(upstream.received) == before


@VERSIONS
@LISTENERS
@pytest.mark.parametrize(
    ("server_name", "client_name"), [(WWW, "nobody"), (PARTNERS, "partner"), (STAFF, "employee"), (GUESTS, "nobody")]
)
def test_a_request_for_a_host_with_another_rule_is_misdirected(
    door: Door, upstream: Upstream, version: int, listener: str, server_name: str, client_name: str
) -> None:
    """And the connection goes on. 421 is what has a client open another one (RFC 9110, 15.5.20)."""
    others = [host for host in EVERY if host != server_name]
    answers = door.ask_all(version, server_name, [*others, server_name], client_name, listener)
    assert [status for status, _ in answers] == [421, 421, 421, 200]
    assert len(upstream.received) == 1
    problem = json.loads(answers[0][1])
    assert (problem["title"], problem["status"]) == ("Misdirected Request", 421)
    assert "must open a connection whose server name is that host" in problem["detail"]


SPELLINGS: dict[str, Callable[[str], str]] = {
    "upper case": str.upper,
    "a port": "{}:443".format,
    "a dot": "{}.".format,
    "a dot and a port": "{}.:8443".format,
    "no port": "{}:".format,
    "a port that is none": "{}:x".format,
    "userinfo": "me@{}".format,
    "a host that is served, and userinfo": f"{WWW}:443@{{}}".format,
}


@VERSIONS
@pytest.mark.parametrize("host", [PARTNERS, STAFF])
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_no_spelling_of_a_host_gets_past_its_rule(
    door: Door, upstream: Upstream, version: int, host: str, spelling: str
) -> None:
    """Envoy refuses invalid hosts before."""
    with contextlib.suppress(RefusedError):
        status, _ = door.ask(version, WWW, SPELLINGS[spelling](host))
        assert status in {400, 421}
    assert upstream.received == []


@pytest.mark.parametrize("client_name", ["nobody", "employee"])
@pytest.mark.parametrize("version", [2, 3])
def test_no_host_beside_the_authority_gets_past_a_rule(
    door: Door, upstream: Upstream, version: int, client_name: str
) -> None:
    """It counts for nothing, and alone it is the authority."""
    with contextlib.suppress(RefusedError):
        both, alone = door.send_all(
            version, WWW, [[(":authority", WWW), ("host", PARTNERS)], [("host", PARTNERS)]], client_name
        )
        assert (both[0], alone[0]) in {(200, 421), (200, 400), (400, 421), (400, 400)}
    assert [request.value("host") for request in upstream.received] in ([], [WWW])


def test_no_form_of_a_request_gets_past_a_rule(door: Door, upstream: Upstream) -> None:
    """An absolute target is what counts (RFC 9112, 3.2.2). Two hosts are joined, and routes of a node refuse them."""
    with connected(door.listeners.ports["any"], door.context("nobody", "http/1.1"), WWW) as connection:
        connection.sendall(f"GET https://{PARTNERS}/x HTTP/1.1\r\nHost: {WWW}\r\n\r\n".encode())
        assert receive_answer(connection).status == 421
    assert upstream.received == []


@pytest.mark.parametrize("server_name", [None, "127.0.0.1", "other.example.org", f"{PARTNERS}.", "staff.example.com"])
def test_other_server_names_reach_no_host_that_requires_certificates(
    door: Door, upstream: Upstream, server_name: str | None
) -> None:
    """A listener with hosts refuses such a connection, unless one of them covers the name."""
    for host in (PARTNERS, STAFF):
        with contextlib.suppress(RefusedError):
            assert door.ask(1, server_name, host)[0] == 421
    assert upstream.received == []
    assert door.ask(1, server_name, WWW)[0] == 200
    if server_name != "staff.example.com":
        with pytest.raises(RefusedError):
            door.ask(1, server_name, WWW, listener="named")


@VERSIONS
def test_a_server_name_in_upper_case_is_the_same(door: Door, upstream: Upstream, version: int) -> None:
    with pytest.raises(RefusedError):
        door.ask(version, PARTNERS.upper(), PARTNERS)
    assert upstream.received == []
    assert door.ask(version, PARTNERS.upper(), PARTNERS, "partner")[0] == 200


@VERSIONS
def test_a_client_is_identified_where_its_certificate_was_requested(door: Door, version: int) -> None:
    expected = {PARTNERS: "CN=partner", GUESTS: "CN=partner", WWW: None}
    asking = dataclasses.replace(door, path=f"/{fresh_name('known')}")
    for host in expected:
        assert asking.ask(version, host, host, "partner")[0] == 200

    def known() -> dict[str, str | None]:
        lines = map(json.loads, door.listeners.lines())
        return {line["authority"]: line.get("peerSubject") for line in lines if line["path"] == asking.path}

    eventually("each has a line", lambda: len(known()) == len(expected))
    assert known() == expected


# ---------------------------------------------------------------- sessions


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("host", [PARTNERS, GUESTS])
def test_no_session_of_another_host_gets_past_a_rule(
    door: Door, upstream: Upstream, version: ssl.TLSVersion, host: str
) -> None:
    context = door.context("nobody", "http/1.1")
    context.minimum_version = context.maximum_version = version
    port = door.listeners.ports["any"]
    with connected(port, context, WWW) as first:
        assert isinstance(first, ssl.SSLSocket)
        assert _over_http1(first, "/x", [(":authority", WWW)])[0] == 200
        session = first.session
    with connected(port, context, WWW, session=session) as again:
        assert isinstance(again, ssl.SSLSocket)
        assert again.session_reused
    before = len(upstream.received)
    with contextlib.suppress(OSError, RefusedError), connected(port, context, host, session=session) as other:
        assert isinstance(other, ssl.SSLSocket)
        assert not other.session_reused
        status, _ = _over_http1(other, "/x", [(":authority", host)])
        assert (host, status) == (GUESTS, 200), "expected a handshake without a certificate to be refused"
    assert len(upstream.received) == before + (host == GUESTS)


@pytest.mark.parametrize("host", [PARTNERS, GUESTS])
def test_no_session_of_quic_of_another_host_gets_past_a_rule(door: Door, upstream: Upstream, host: str) -> None:
    port, trusted = door.listeners.ports["any/http3"], door.signer.file

    async def resumed(server_name: str, ticket: SessionTicket | None, tickets: list[SessionTicket]) -> bool:
        how = {"server_name": server_name, "ticket": ticket, "tickets": tickets}
        async with http3.connected(port, trusted, **how) as client:  # type: ignore[arg-type]
            assert (await client.get("/x", host=server_name)).status == 200
            if ticket is None:
                await http3.until(lambda: tickets)
            return client.resumed

    tickets: list[SessionTicket] = []
    assert asyncio.run(resumed(WWW, None, tickets)) is False
    assert asyncio.run(resumed(WWW, tickets[0], [])) is True
    before = len(upstream.received)
    with contextlib.suppress(http3.RefusedError, http3.ResetError):
        assert asyncio.run(resumed(host, tickets[0], [])) is False
        assert host == GUESTS, "expected a handshake without a certificate to be refused"
    assert len(upstream.received) == before + (host == GUESTS)
