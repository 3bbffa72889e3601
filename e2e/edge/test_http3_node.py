"""HTTP/3 through a whole node: policies in Python, certificates that are replaced, listeners that change, a stop."""

from __future__ import annotations

import asyncio
import datetime
import os
import re
import socket
import threading
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest
from aioquic.tls import SessionTicket
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from e2e.kit import model_events
from e2e.kit.certificates import DAY, Authority, authority
from e2e.kit.gateway import Gateway, Json, api, attach, eventually, running
from e2e.kit.http3 import Answer, Client, RefusedError, ResetError, UnservedError, connected, until
from e2e.kit.listening import free_port, write
from e2e.kit.model_upstream import ModelUpstream
from e2e.kit.upstream import Reply, Upstream

pytestmark = pytest.mark.timeout(180)
T = TypeVar("T")
LARGE = 2 << 20
WORDS = ["Write ", "to ", "ada@example.org", " now", ". "]
PAUSE = 0.05
"""Seconds between two requests of a client: a handshake in Python takes as much CPU as ten requests of others."""


@dataclass
class Node:
    """A gateway in clear on its first listener, and with HTTP/3 on two: one public, and one for partners alone."""

    gateway: Gateway
    file: Path
    ca: Authority
    clear: int
    port: int
    partners: int

    def run(self, coroutine: Any, port: int | None = None, **how: Any) -> Any:
        """The result of a coroutine function with a connection."""

        async def run_once() -> Any:
            async with connected(port or self.port, self.ca.file, **how) as connection:
                return await coroutine(connection)

        return asyncio.run(run_once())

    def get(self, path: str, *headers: tuple[str, str], **how: Any) -> Answer:
        answer: Answer = self.run(lambda connection: connection.get(path, *headers), **how)
        return answer

    def write(self, *, own: Json | None = None, partners: Json | None = None, **spec: object) -> None:
        """Writes the Gateway. own: fields of one more listener, without which there is none. partners: fields that are
        changed."""
        tls: Json = {"certificates": ["web"]}
        settings = {"clientCertificates": {"mode": "require", "authority": "partners"}}
        shared = {"protocol": "https", "http3": True}
        web, signer = self.ca.folder / "web", self.ca
        listeners = [
            {"name": "clear", "port": self.clear},
            {"name": "public", "port": self.port, **shared, "tls": tls},
            {"name": "partners", "port": self.partners, **shared, "tls": {**tls, **settings}, **(partners or {})},
            *([{"name": "own", **shared, "tls": tls, **own}] if own else []),
        ]
        write(
            self.file,
            *listeners,
            certificates={"web": {"certificateFile": f"{web}.pem", "keyFile": f"{web}.key"}},
            authorities={"partners": {"file": str(signer.file), "revocationFile": str(self.ca.folder / "crl.pem")}},
            **spec,
        )

    def reload(self) -> None:
        result = self.gateway.reload()
        assert result.returncode == 0, result.stderr
        assert "listeners: as the Gateway says now" in result.stdout


def revoke(ca: Authority, *files: Path) -> None:
    """Writes the authority's revocation list."""
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateRevocationListBuilder().issuer_name(ca.certificate.subject)
    builder = builder.last_update(now - DAY).next_update(now + DAY)
    for file in files:
        serial = x509.load_pem_x509_certificate(file.read_bytes()).serial_number
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now - DAY).build()
        builder = builder.add_revoked_certificate(entry)
    signed = builder.sign(ca.key, hashes.SHA256())
    (ca.folder / "crl.pem").write_bytes(signed.public_bytes(serialization.Encoding.PEM))


@contextmanager
def run_node(build: Path, folder: Path) -> Iterator[Node]:
    (folder / "tls").mkdir(parents=True)
    ca = authority(folder / "tls")
    ca.issue("web", "127.0.0.1")
    revoke(ca)
    clear, port, partners = free_port(), free_port(), free_port()
    file = folder / "gateway.yaml"
    http3_node = Node(None, file, ca, clear, port, partners)  # type: ignore[arg-type] # it needs the file first
    http3_node.write()
    with running(build, folder / "state", "--gateway", str(file), "--port", str(clear)) as gateway:
        http3_node.gateway = gateway
        yield http3_node


@pytest.fixture(scope="module")
def shared_node(build: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with run_node(build, tmp_path_factory.mktemp("http3")) as http3_node:
        yield http3_node


@pytest.fixture
def node(shared_node: Node) -> Node:
    """A node whose listeners the test does not change."""
    return shared_node


@pytest.fixture
def changed_node(shared_node: Node) -> Iterator[Node]:
    """A node whose Gateway the test writes anew; afterwards it is as before."""
    yield shared_node
    shared_node.write()
    result = shared_node.gateway.reload()
    assert result.returncode == 0, result.stderr


@pytest.fixture
def own_node(build: Path, tmp_path: Path) -> Iterator[Node]:
    """A node that the test may stop."""
    with run_node(build, tmp_path / "node") as http3_node:
        yield http3_node


@pytest.fixture
def own_port(changed_node: Node) -> int:
    """The port of a listener with HTTP/3 that only this test uses."""
    port = free_port()
    changed_node.write(own={"port": port})
    changed_node.reload()
    return port


# ---------------------------------------------------------------- through policies


def test_the_status_names_listeners_with_http3(node: Node) -> None:
    node.gateway.wait_printed(f"HTTP/3 on https://127.0.0.1:{node.port} (listener public)")
    http3_by_listener = {listener["name"]: listener["http3"] for listener in node.gateway.status()["listeners"]}
    assert http3_by_listener == {"clear": False, "public": True, "partners": True}


def test_get_and_post_pass_a_policy_in_python(node: Node, upstream: Upstream) -> None:
    node.gateway.deploy(api("both", upstream.url, [attach("body-length")]))
    assert node.get("/both/x").status == 200
    answer = node.run(lambda connection: connection.post("/both/x", b"a" * 1000))
    assert answer.status == 200
    assert [(request.method, request.value("x-body-length")) for request in upstream.received] == [
        ("GET", "0"),
        ("POST", "1000"),
    ]
    assert upstream.received[1].body == b"a" * 1000
    eventually("both have a line", lambda: len(node.gateway.access_records("both")) == 2)
    assert [(record["method"], record["status"]) for record in node.gateway.access_records("both")] == [
        ("GET", 200),
        ("POST", 200),
    ]


def test_large_bodies_go_both_ways(node: Node, upstream: Upstream) -> None:
    node.gateway.deploy(api("large", upstream.url, [attach("pass-stream", timeout="25s")]))
    body = os.urandom(LARGE)
    upstream.reply = lambda request: Reply(200, [("content-type", "application/octet-stream")], request.body)
    answer = node.run(lambda connection: connection.post("/large/x", body))
    assert answer.status == 200
    assert answer.body == body


@pytest.fixture
def model(node: Node) -> Iterator[ModelUpstream]:
    reports = attach("pass-stream", {"reports": True}, timeout="10s")
    with ModelUpstream() as upstream:
        node.gateway.deploy(api("model", upstream.url, [attach("mask-pii-stream", timeout="10s"), reports]))
        yield upstream


def test_a_stream_comes_event_by_event(node: Node, model: ModelUpstream) -> None:
    """Each event is sent when the client has the one before."""
    events = model_events.completion(["one ", "two ", "three "])

    async def read(connection: Client) -> bytes:
        exchange = connection.request("/model/x")
        for word in (b"one", b"two"):
            model.permit()
            await exchange.until(word)
            assert b"three" not in exchange.answer.body
        for _ in events:
            model.permit()
        return (await exchange.whole()).body

    with model.answer_with(events, permits=1):
        assert b"three" in node.run(read)
    with model.answer_with(model_events.completion(WORDS)):
        answer = node.get("/model/x")
    assert b"[masked]" in answer.body
    assert b"ada@example.org" not in answer.body


@pytest.mark.parametrize("how", ["the request is cancelled", "the connection is closed"])
def test_a_client_that_leaves_in_the_middle_frees_policy_and_upstream(
    node: Node, model: ModelUpstream, how: str
) -> None:
    def closed() -> int:
        messages = [str(record.get("message")) for record in node.gateway.find_records(policy="pass-stream:v1.0.0")]
        return len(
            [message for message in messages if re.match("response ended by (GeneratorExit|CancelledError)", message)]
        )

    before = closed()

    async def leave(connection: Client) -> None:
        exchange = connection.request("/model/x")
        await exchange.until(b"one")
        if how == "the request is cancelled":
            exchange.cancel()
            await asyncio.to_thread(eventually, "the policy's finally has run", lambda: closed() > before)

    with model.answer_with(model_events.completion(["one ", "two ", "three ", "four "]), permits=2):
        node.run(leave)
        eventually("the policy's finally has run", lambda: closed() > before)
        eventually("upstream is left too", model.gone.is_set)


@pytest.mark.parametrize(("headers", "status"), [
    ([(":authority", "a.example,b.example")], 400),
    ([(":method", "CONNECT"), (":protocol", "websocket")], 0),
    ([("upgrade", "websocket"), ("connection", "upgrade")], 0),
    ([(":path", "/forged/..%2f..%2fadmin")], 400),
], ids=lambda value: str(value)[:30])  # fmt: skip
def test_requests_refused_over_http2_are_refused_over_http3(
    node: Node, upstream: Upstream, headers: list[tuple[str, str]], status: int
) -> None:
    """0: with the stream, or with the connection."""
    node.gateway.deploy(api("forged", upstream.url))
    usual = {":method": "GET", ":scheme": "https", ":authority": "127.0.0.1", ":path": "/forged/x", **dict(headers)}
    pseudo = {name: value for name, value in usual.items() if name.startswith(":")}

    async def ask(connection: Client) -> int:
        try:
            return (
                await connection.begin([*pseudo.items(), *(usual.items() - pseudo.items())], end=True).whole()
            ).status
        except (RefusedError, ResetError):
            return 0

    assert node.run(ask) == status
    assert upstream.received == []
    assert node.get("/forged/x", ("x-gatewright-upstream", "a"), ("x-envoy-retry-on", "5xx")).status == 200
    (received,) = upstream.received
    assert received.value("x-gatewright-upstream") is None
    assert received.value("x-envoy-retry-on") is None


# ---------------------------------------------------------------- certificates


def test_a_certificate_that_is_revoked_is_refused(node: Node, upstream: Upstream) -> None:
    node.gateway.deploy(api("mutual", upstream.url))
    partner = node.ca.issue("partner", "p.example")
    tickets: list[SessionTicket] = []
    how = {"port": node.partners, "certificate": partner, "tickets": tickets}
    assert node.get("/mutual/x", **how).status == 200
    assert tickets == []
    with pytest.raises(RefusedError):
        node.get("/mutual/x", port=node.partners)
    revoke(node.ca, partner[0])
    eventually("it is refused", lambda: _is_refused(node, **how))


def _is_refused(node: Node, **how: Any) -> bool:
    try:
        node.get("/mutual/x", **how)
    except RefusedError:
        return True
    return False


def test_no_earlier_session_gets_past_a_required_certificate(
    changed_node: Node, own_port: int, upstream: Upstream
) -> None:
    changed_node.gateway.deploy(api("resumed", upstream.url))
    tickets: list[SessionTicket] = []

    async def ask(connection: Client) -> bool:
        assert (await connection.get("/resumed/x")).status == 200
        await until(lambda: tickets)
        return connection.resumed

    assert changed_node.run(ask, own_port, tickets=tickets) is False
    eventually("a worker knows its session again", lambda: changed_node.run(ask, own_port, ticket=tickets[0]))
    settings = {"certificates": ["web"], "clientCertificates": {"mode": "require", "authority": "partners"}}
    changed_node.write(own={"port": own_port, "tls": settings})
    changed_node.reload()
    eventually("the new listener has taken over", lambda: _is_refused(changed_node, port=own_port, seconds=5))
    assert all(_is_refused(changed_node, port=own_port, ticket=tickets[0]) for _ in range(10)), (
        "expected it of each worker"
    )


def test_certificates_are_rotated_without_a_failed_request(node: Node, upstream: Upstream) -> None:
    node.gateway.deploy(api("rotated", upstream.url))
    with run_clients(node, "/rotated/x") as flow:
        for _ in range(3):
            chain, _ = node.ca.issue("web", "127.0.0.1")
            serial = f"{x509.load_pem_x509_certificate(chain.read_bytes()).serial_number:X}"
            eventually("the new one is shown", partial(_is_shown, node, serial))
            eventually("requests have come", partial(_has_more, flow, "200", flow["200"] + 40))
    assert set(flow) == {"200"}, flow


def _is_shown(node: Node, serial: str) -> bool:
    return bool(node.run(_certificate) == serial)


async def _certificate(connection: Client) -> str:
    return connection.certificate


# ---------------------------------------------------------------- changes


class Clients:
    """One client that keeps its connection until a GOAWAY, and one with a new connection for each request.

    found: answers by their status; "goaway": connections that received a GOAWAY; rejected requests are repeated.
    """

    def __init__(self, node: Node, path: str) -> None:
        self.found: Counter[str] = Counter()
        self.ended = threading.Event()
        self._node, self._path = node, path

    def run(self) -> None:
        asyncio.run(self._both())

    async def _both(self) -> None:
        await asyncio.gather(self._counted(self._keep), self._counted(self._anew))

    async def _counted(self, ask: Callable[[Client], Coroutine[Any, Any, None]]) -> None:
        while not self.ended.is_set():
            try:
                async with connected(self._node.port, self._node.ca.file) as connection:
                    await ask(connection)
            except UnservedError:
                self.found["goaway"] += 1
            except (RefusedError, ResetError) as error:
                self.found[repr(error)] += 1

    async def _keep(self, connection: Client) -> None:
        while not self.ended.is_set():
            if connection.unserved_from is not None:
                self.found["goaway"] += 1
                return
            await self._anew(connection)

    async def _anew(self, connection: Client) -> None:
        self.found[str((await connection.get(self._path)).status)] += 1
        await asyncio.sleep(PAUSE)


@contextmanager
def run_clients(node: Node, path: str) -> Iterator[Counter[str]]:
    flows = Clients(node, path)
    thread = threading.Thread(target=flows.run)
    thread.start()
    try:
        yield flows.found
    finally:
        flows.ended.set()
        thread.join()


def test_listeners_change_without_a_failed_request(changed_node: Node, upstream: Upstream) -> None:
    changed_node.gateway.deploy(
        api("changing", upstream.url, [attach("add-python-header", {"headerName": "x", "headerValue": "y"})])
    )
    with run_clients(changed_node, "/changing/x") as flow:
        for idle in ("40s", "41s"):
            goaways = flow["goaway"]
            changed_node.write(timeouts={"connectionIdle": idle})
            changed_node.reload()
            eventually("it goes on", partial(_has_more, flow, "200", flow["200"] + 50))
            eventually("earlier connections receive a GOAWAY", partial(_has_more, flow, "goaway", goaways), 30)
    assert set(flow) == {"200", "goaway"}, flow


def _has_more(flow: Counter[str], outcome: str, than: int) -> bool:
    return flow[outcome] > than


def test_http3_comes_and_goes(changed_node: Node, own_port: int, upstream: Upstream) -> None:
    changed_node.gateway.deploy(api("going", upstream.url))
    assert changed_node.get("/going/x", port=own_port).status == 200
    changed_node.write(own={"port": own_port, "http3": False})
    changed_node.reload()
    eventually("no listener answers", lambda: _is_away(changed_node, own_port))
    changed_node.write(own={"port": own_port})
    changed_node.reload()
    eventually("it is back", lambda: not _is_away(changed_node, own_port))
    assert changed_node.get("/going/x", port=own_port).status == 200


def _is_away(node: Node, port: int) -> bool:
    try:
        return node.get("/going/x", port=port, seconds=1).status != 200
    except (RefusedError, ResetError):
        return True


def test_a_taken_udp_port_is_reported(changed_node: Node, upstream: Upstream) -> None:
    changed_node.gateway.deploy(api("taken", upstream.url))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        changed_node.write(partners={"port": port})
        result = changed_node.gateway.reload()
        assert result.returncode == 1
        assert f"UDP port {port} on 127.0.0.1 is taken (by " in result.stderr
    assert changed_node.get("/taken/x").status == 200


def test_a_stop_loses_no_request_that_is_under_way(own_node: Node, upstream: Upstream) -> None:
    """New connections find no listener and go to TCP; an open connection receives a GOAWAY, and its request ends."""
    own_node.gateway.deploy(api("stopping", upstream.url, [attach("sleep", {"seconds": 1.5}, timeout="10s")]))
    upstream.reply = lambda _: Reply(200, [], b"done")

    async def ask(connection: Client) -> tuple[int, bytes]:
        exchange = connection.request("/stopping/x")
        await asyncio.to_thread(eventually, "the request is under way", lambda: own_node.gateway.is_busy("stopping"))
        stop = asyncio.create_task(asyncio.to_thread(own_node.gateway.stop))
        answer = await exchange.whole()
        assert await stop == 0
        return answer.status, answer.body

    assert own_node.run(ask) == (200, b"done")
    assert "could not be drained" not in "".join(own_node.gateway.log)
