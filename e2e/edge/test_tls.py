"""TLS of a whole gateway: versions and ciphers, the certificates shown to clients, and client certificates."""

from __future__ import annotations

import datetime
import json
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from e2e.kit import client_hello
from e2e.kit.certificates import Authority, authority
from e2e.kit.client_certificates import ClientCertificate, client_certificate, client_tls
from e2e.kit.client_hello import MODERN, WEAK, offer
from e2e.kit.gateway import Gateway, Json, api, attach, eventually, running
from e2e.kit.listening import free_port, write
from e2e.kit.raw_http import Answer, RefusedError, connected, request
from e2e.kit.upstream import Upstream

pytestmark = pytest.mark.timeout(120)
HOUR = datetime.timedelta(hours=1)
WWW, RSA, SHOP = "www.example.com", "rsa.example.com", "a.shops.example.com"
EC_CIPHERS = [number for number, name in MODERN.items() if "ECDSA" in name]
ROOM = "any", "hosts", "modern", "partners", "guests"
OFFERED_BY_NOBODY = [0x0A0A, 0x1A1A]
"""Reserved numbers of RFC 8701 (GREASE)."""


def find_program(program: str) -> str:
    path = shutil.which(program)
    if not path:
        pytest.skip(f"NOT TESTED: {program} is not on this machine")
    return path


@dataclass
class Door:
    """A gateway with a listener of each kind. ports: by their names. partners: signs the certificates of clients."""

    gateway: Gateway
    ports: dict[str, int]
    signer: Authority
    partners: Authority

    def ask(
        self, name: str, certificate: ClientCertificate | None = None, host: str = WWW, server_name: str = WWW
    ) -> Answer:
        """host: what the request says. asked: the server name, "" for none."""
        context = client_tls(self.signer, certificate)
        context.check_hostname = bool(server_name)
        return request(self.ports[name], host, tls=context, server_name=server_name or None, path="/tls/x")

    def names(self, name: str, server_name: str) -> tuple[str, ...]:
        """The names in the certificate that the gateway shows."""
        context = client_tls(self.signer)
        context.check_hostname = False
        answer = request(self.ports[name], WWW, tls=context, server_name=server_name or None, path="/tls/x")
        assert answer.tls
        assert answer.status == 200
        return answer.tls.names


@pytest.fixture(scope="module")
def door(build: Path, recording_upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    folder = tmp_path_factory.mktemp("door")
    signer, partners = authority(folder), authority(folder, "partners")
    certificates = {
        "www": signer.issue("www", WWW, "127.0.0.1"),
        "rsa": signer.issue("rsa", RSA, kind="rsa"),
        "shops": signer.issue("shops", "*.shops.example.com"),
    }
    ports = {name: free_port() for name in ("http", *ROOM)}
    tls: Json = {
        "any": {},
        "hosts": {},
        "modern": {"minVersion": "1.3"},
        "partners": {"clientCertificates": {"mode": "require", "authority": "partners"}},
        "guests": {"clientCertificates": {"mode": "request", "authority": "partners"}},
    }
    listeners = [
        {
            "name": name,
            "port": ports[name],
            "protocol": "https",
            "tls": {"certificates": list(certificates), **tls[name]},
        }
        for name in ROOM
    ]
    listeners[1]["hosts"] = [WWW, "*.shops.example.com"]
    file = write(
        folder / "gateway.yaml",
        {"name": "http", "port": ports["http"], "redirect": {"port": ports["any"]}},
        *listeners,
        certificates={
            name: {"certificateFile": str(pair[0]), "keyFile": str(pair[1])} for name, pair in certificates.items()
        },
        authorities={"partners": {"file": str(partners.file), "revocationFile": str(partners.revoke())}},
    )
    arguments = ["--gateway", str(file), "--port", str(ports["http"])]
    with running(build, folder / "state", *arguments) as gateway:
        gateway.deploy(api("tls", recording_upstream.url, [attach("mark", {"name": "m"})]))
        yield Door(gateway, ports, signer, partners)


# ---------------------------------------------------------------- versions and ciphers


@pytest.mark.parametrize("version", [client_hello.SSL_3, client_hello.TLS_1_0, client_hello.TLS_1_1])
@pytest.mark.parametrize("name", ["any", "modern"])
def test_versions_older_than_1_2_are_refused(door: Door, name: str, version: int) -> None:
    answer = offer(door.ports[name], WWW, [*EC_CIPHERS, *WEAK["CBC"]], version)
    assert answer.alert == client_hello.PROTOCOL_VERSION


@pytest.mark.parametrize("cipher", MODERN, ids=MODERN.values())
def test_each_modern_cipher_is_accepted(door: Door, cipher: int) -> None:
    """Alone, in TLS 1.2: with a key that is agreed on for this connection alone, and by X25519."""
    answer = offer(
        door.ports["any"], RSA if "RSA" in MODERN[cipher] and "ECDSA" not in MODERN[cipher] else WWW, [cipher]
    )
    assert (answer.alert, answer.version, answer.cipher) == (None, client_hello.TLS_1_2, cipher)
    assert answer.group == 0x001D


@pytest.mark.parametrize("server_name", [WWW, RSA])
@pytest.mark.parametrize("ciphers", WEAK.values(), ids=WEAK)
def test_weak_ciphers_are_refused(door: Door, ciphers: list[int], server_name: str) -> None:
    """Offers all ciphers of a kind at once: a refusal means that none of them is accepted."""
    assert offer(door.ports["any"], server_name, ciphers).alert == client_hello.HANDSHAKE_FAILURE
    assert offer(door.ports["any"], server_name, [*ciphers, *MODERN]).cipher in MODERN


def test_no_other_ciphers_are_accepted(door: Door) -> None:
    """Every number that there is, a thousand at a time, but for these and for TLS 1.3's."""
    known = {*MODERN, *range(0x1301, 0x1306), client_hello.FALLBACK}
    numbers = [number for high in (0x00, 0x13, 0xC0, 0xCC, 0xD0) for number in range(high << 8, (high << 8) + 256)]
    rest = [number for number in numbers if number not in known]
    for server_name in (WWW, RSA):
        assert offer(door.ports["any"], server_name, rest).alert == client_hello.HANDSHAKE_FAILURE


def test_unassigned_numbers_are_ignored(door: Door) -> None:
    answer = offer(door.ports["any"], WWW, [*OFFERED_BY_NOBODY, *EC_CIPHERS], extensions={0x2A2A: b""})
    assert answer.cipher in EC_CIPHERS


def test_the_gateways_order_of_ciphers_counts(door: Door) -> None:
    """But for ciphers of one strength, of which a client's processor knows best: AES or ChaCha20."""
    ciphers = {offer(door.ports["any"], WWW, order).cipher for order in (EC_CIPHERS, EC_CIPHERS[::-1])}
    assert ciphers == {EC_CIPHERS[0]}


def test_a_downgraded_handshake_is_refused(door: Door) -> None:
    """RFC 7507: a client that falls back says so, and a gateway that speaks 1.3 knows that it need not have."""
    answer = offer(door.ports["any"], WWW, [*EC_CIPHERS, client_hello.FALLBACK])
    assert answer.alert == client_hello.INAPPROPRIATE_FALLBACK


def test_extensions_of_a_handshake_are_answered(door: Door) -> None:
    offered = {
        client_hello.EXTENDED_MASTER_SECRET: b"",
        client_hello.RENEGOTIATION_INFO: b"\0",
        client_hello.HEARTBEAT: b"\1",
        client_hello.STATUS_REQUEST: b"\1\0\0\0\0",
    }
    answer = offer(door.ports["any"], WWW, EC_CIPHERS, extensions=offered, compressions=b"\1\0")
    assert answer.compression == 0, "CRIME"
    assert client_hello.HEARTBEAT not in answer.extensions, "Heartbleed"
    assert client_hello.STATUS_REQUEST not in answer.extensions, "OCSP stapling is left out"
    assert {client_hello.EXTENDED_MASTER_SECRET, client_hello.RENEGOTIATION_INFO} <= answer.extensions


def test_a_listener_may_require_tls_1_3(door: Door) -> None:
    assert offer(door.ports["modern"], WWW, EC_CIPHERS).alert == client_hello.PROTOCOL_VERSION
    answer = door.ask("modern")
    assert answer.tls
    assert (answer.status, answer.tls.version) == (200, "TLSv1.3")
    assert answer.tls.cipher in {"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"}


VERSIONS = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])


def session(door: Door, name: str, context: ssl.SSLContext) -> ssl.SSLSession:
    """A session that the listener has issued."""
    with connected(door.ports[name], context, WWW) as connection:
        assert isinstance(connection, ssl.SSLSocket)
        connection.sendall(f"GET /tls/x HTTP/1.1\r\nhost: {WWW}\r\n\r\n".encode())
        assert connection.recv(15) == b"HTTP/1.1 200 OK"  # tickets of 1.3 come behind the handshake
        assert connection.session
        return connection.session


@VERSIONS
def test_sessions_are_resumed(door: Door, version: ssl.TLSVersion) -> None:
    context = client_tls(door.signer)
    context.minimum_version = context.maximum_version = version
    with connected(door.ports["any"], context, WWW, session=session(door, "any", context)) as again:
        assert isinstance(again, ssl.SSLSocket)
        assert again.session_reused


@pytest.mark.parametrize("offered", [["h2", "http/1.1"], ["http/1.1", "h2"], ["h2"], ["http/1.1"], ["spdy/1"], []])
def test_alpn_chooses_http2_for_clients_that_know_it(door: Door, offered: list[str]) -> None:
    """HTTP/2 where the client knows it, whatever it would rather have; HTTP/1.1 where it says nothing that is known."""
    context = client_tls(door.signer)
    if offered:
        context.set_alpn_protocols(offered)
    with connected(door.ports["any"], context, WWW) as connection:
        assert isinstance(connection, ssl.SSLSocket)
        chosen = connection.selected_alpn_protocol()
        assert chosen == ("h2" if "h2" in offered else "http/1.1" if "http/1.1" in offered else None)
        if chosen != "h2":
            connection.sendall(f"GET /tls/x HTTP/1.1\r\nhost: {WWW}\r\n\r\n".encode())
            assert connection.recv(15) == b"HTTP/1.1 200 OK"


# ---------------------------------------------------------------- programs that people use


def s_client(door: Door, name: str, *options: str, typed: str = "") -> str:
    command = [find_program("openssl"), "s_client", "-connect", f"127.0.0.1:{door.ports[name]}", "-CAfile"]
    result = subprocess.run(
        [*command, str(door.signer.file), "-servername", WWW, *options],
        input=typed, capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip
    return result.stdout + result.stderr


def test_openssl_reports_secure_parameters(door: Door) -> None:
    output = s_client(door, "any")
    for expected in ("Verification: OK", "New, TLSv1.3", "Compression: NONE", "Server Temp Key: X25519"):
        assert expected in output
    assert "Max Early Data: 0" in s_client(door, "any", "-ign_eof", typed=f"GET /tls/x HTTP/1.0\r\nhost: {WWW}\r\n\r\n")
    output = s_client(door, "any", "-tls1_2")
    assert "Secure Renegotiation IS supported" in output
    assert "Extended master secret: yes" in output


@pytest.mark.parametrize("option", ["-tls1", "-tls1_1"])
def test_openssl_cannot_connect_with_older_versions(door: Door, option: str) -> None:
    output = s_client(door, "any", option, "-cipher", "ALL:@SECLEVEL=0")
    assert "alert protocol version" in output
    assert "Cipher is (NONE)" in output


def test_a_client_cannot_begin_another_handshake(door: Door) -> None:
    """`R` has openssl ask for one. A connection on which the client does not ask goes on."""
    http_request = "GET /tls/x HTTP/1.1\r\nhost: www.example.com\r\nconnection: close\r\n\r\n"
    assert "HTTP/1.1 200 OK" in s_client(door, "any", "-tls1_2", "-ign_eof", typed=http_request)
    output = s_client(door, "any", "-tls1_2", typed="R\n" + http_request)
    assert "RENEGOTIATING" in output
    assert "no renegotiation" in output or "unexpected message" in output, output
    assert "HTTP/1.1 " not in output


@pytest.mark.parametrize(("options", "status", "version"), [
    (["--http1.1"], "200", "1.1"),
    (["--http2"], "200", "2"),
    (["--tls-max", "1.2"], "200", "2"),
    (["--tlsv1.3"], "200", "2"),
    (["--tls-max", "1.1", "--tlsv1.0", "--ciphers", "DEFAULT:@SECLEVEL=0"], "000", "0"),
])  # fmt: skip
def test_curl_connects(door: Door, options: list[str], status: str, version: str) -> None:
    command = [find_program("curl"), "-sS", "-o", "/dev/null", "-w", "%{http_code} %{http_version}", *options]
    there = ["--cacert", str(door.signer.file), "--resolve", f"{WWW}:{door.ports['any']}:127.0.0.1"]
    url = f"https://{WWW}:{door.ports['any']}/tls/x"
    result = subprocess.run([*command, *there, url], capture_output=True, text=True, check=False, timeout=30)
    assert (result.stdout, result.returncode == 0) == (f"{status} {version}", status == "200"), result.stderr


def test_curl_follows_from_http_to_https(door: Door) -> None:
    command = [
        find_program("curl"),
        "-sS",
        "-L",
        "-o",
        "/dev/null",
        "-w",
        "%{http_code} %{url_effective} %{num_redirects}",
    ]
    names = [f"{WWW}:{door.ports[name]}:127.0.0.1" for name in ("http", "any")]
    there = ["--cacert", str(door.signer.file), "--resolve", names[0], "--resolve", names[1]]
    url = f"http://{WWW}:{door.ports['http']}/tls/x?y=%2F"
    result = subprocess.run([*command, *there, url], capture_output=True, text=True, check=False, timeout=30)
    assert result.stdout == f"200 https://{WWW}:{door.ports['any']}/tls/x?y=%2F 1", result.stderr


def test_http_in_clear_on_a_tls_port_is_refused(door: Door, upstream: Upstream) -> None:
    with pytest.raises(RefusedError):
        request(door.ports["any"], WWW, path="/tls/x")
    assert upstream.received == []


# ---------------------------------------------------------------- names


@pytest.mark.parametrize(("server_name", "names"), [
    (WWW, (WWW, "127.0.0.1")),
    ("WWW.Example.COM", (WWW, "127.0.0.1")),
    (RSA, (RSA,)),
    (SHOP, ("*.shops.example.com",)),
    ("a.b.shops.example.com", (WWW, "127.0.0.1")),
    ("shops.example.com", (WWW, "127.0.0.1")),
    ("unknown.example", (WWW, "127.0.0.1")),
    ("", (WWW, "127.0.0.1")),
])  # fmt: skip
def test_the_certificate_is_that_of_the_server_name(door: Door, server_name: str, names: tuple[str, ...]) -> None:
    """A wildcard is one label. A client that asks for an unknown name is shown the first certificate."""
    assert door.names("any", server_name) == names


def test_a_server_name_that_is_not_there_is_not_trusted(door: Door) -> None:
    with pytest.raises(RefusedError, match="mismatch"):
        door.ask("any", server_name="unknown.example")


@pytest.mark.parametrize("server_name", ["unknown.example", RSA, "shops.example.com", ""])
def test_a_listener_with_hosts_refuses_other_server_names(door: Door, server_name: str) -> None:
    with pytest.raises(RefusedError, match=r"closed|EOF|reset"):
        door.ask("hosts", server_name=server_name)


@pytest.mark.parametrize(("name", "host", "status"), [
    ("hosts", WWW, 200),
    ("hosts", SHOP, 200),
    ("hosts", RSA, 421),
    ("hosts", "unknown.example", 421),
    ("any", "unknown.example", 200),
])  # fmt: skip
def test_a_host_other_than_the_server_name_is_misdirected(
    door: Door, upstream: Upstream, name: str, host: str, status: int
) -> None:
    """One connection may serve all hosts of its listener (RFC 9113, 9.1.1), and no other."""
    answer = door.ask(name, host=host)
    assert answer.status == status
    assert len(upstream.received) == (status == 200)
    if status != 200:
        assert json.loads(answer.body)["status"] == status


# ---------------------------------------------------------------- certificates of clients


@pytest.mark.parametrize("name", ["partners", "guests"])
def test_a_client_of_the_authority_is_admitted(door: Door, upstream: Upstream, name: str) -> None:
    assert door.ask(name, client_certificate(door.partners, "alice")).status == 200
    assert len(upstream.received) == 1


def test_a_client_without_a_certificate_is_admitted_if_it_is_optional(door: Door) -> None:
    assert door.ask("guests").status == 200
    with pytest.raises(RefusedError):
        door.ask("partners")


@pytest.mark.parametrize("name", ["partners", "guests"])
@pytest.mark.parametrize("kind", ["expired", "stranger", "impostor", "server"])
def test_a_client_with_an_invalid_certificate_is_refused(
    door: Door, upstream: Upstream, tmp_path: Path, name: str, kind: str
) -> None:
    """Also where none is required. server: a certificate of the gateway's own authority."""
    certificates = {
        "expired": client_certificate(door.partners, "expired", lasts=-HOUR),
        "stranger": client_certificate(authority(tmp_path, "strangers"), "alice"),
        "impostor": client_certificate(authority(tmp_path, "partners"), "alice"),
        "server": client_certificate(door.signer, "alice"),
    }[kind]
    with pytest.raises(RefusedError):
        door.ask(name, certificates)
    assert upstream.received == []


def test_a_certificate_is_revoked_while_the_gateway_runs(door: Door, upstream: Upstream) -> None:
    """By another list in the place of the one before: the next connection is none. Others go on."""
    good, lost = (client_certificate(door.partners, name) for name in ("good", "lost"))
    assert door.ask("partners", lost).status == 200
    door.partners.revoke(lost.certificate)
    eventually("it is let in no more", lambda: not is_admitted(door, lost))
    before = len(upstream.received)
    for name in ("partners", "guests"):
        with pytest.raises(RefusedError):
            door.ask(name, lost)
        assert door.ask(name, good).status == 200
    assert len(upstream.received) == before + 2
    door.partners.revoke()
    eventually("it is let in again", lambda: is_admitted(door, lost))


def is_admitted(door: Door, certificate: ClientCertificate) -> bool:
    try:
        return door.ask("partners", certificate).status == 200
    except RefusedError:
        return False


@VERSIONS
def test_a_session_of_one_listener_opens_no_other(door: Door, version: ssl.TLSVersion) -> None:
    """A session of a listener without client certificates cannot be resumed where one is required."""
    context = client_tls(door.signer)
    context.minimum_version = context.maximum_version = version
    first_session = session(door, "any", context)
    with pytest.raises(OSError, match=r"handshake|certificate|reset|EOF"):
        first_byte(door, "partners", context, first_session)


@VERSIONS
@pytest.mark.parametrize("name", ["partners", "guests"])
def test_no_session_is_resumed_where_clients_have_certificates(door: Door, name: str, version: ssl.TLSVersion) -> None:
    """A resumed session verifies no certificate: one that has expired since would be admitted."""
    context = client_tls(door.signer, client_certificate(door.partners, "alice"))
    context.minimum_version = context.maximum_version = version
    with connected(door.ports[name], context, WWW) as first:
        assert isinstance(first, ssl.SSLSocket)
        first.sendall(f"GET /tls/x HTTP/1.1\r\nhost: {WWW}\r\n\r\n".encode())
        assert first.recv(15) == b"HTTP/1.1 200 OK"
        first_session = first.session
    with connected(door.ports[name], context, WWW, session=first_session) as again:
        assert isinstance(again, ssl.SSLSocket)
        assert not again.session_reused


def first_byte(door: Door, name: str, context: ssl.SSLContext, earlier_session: ssl.SSLSession) -> None:
    """Reads the first byte of an answer: in TLS 1.3, a missing certificate is reported after the handshake."""
    with connected(door.ports[name], context, WWW, session=earlier_session) as connection:
        connection.sendall(f"GET /tls/x HTTP/1.1\r\nhost: {WWW}\r\n\r\n".encode())
        assert connection.recv(1) == b"", "expected no answer"
        raise OSError("EOF")
