"""Requests that the controller sends to its gateway: what goes out, what comes back, and where it never goes.

The listener is a real socket that answers what a test says; e2e/observe/test_requests.py has Envoy.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import re
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from gatewright_controller._gen import node_pb2
from gatewright_controller.apis.controller import Controller
from gatewright_controller.gateway.gateway_file import effective, render
from gatewright_controller.gateway.gateways import Gateways
from gatewright_controller.management.api import ApiLimits
from gatewright_controller.management.request_api import RequestLimits
from gatewright_controller.management.request_recording import RecordingTimes
from gatewright_controller.management.request_sending import AnswerLimits
from gatewright_controller.nodes.deployment import Deployment
from gatewright_controller.nodes.observations import Observations
from gatewright_documents.values import JsonObject

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
ClientWith = Callable[[ApiLimits], httpx.AsyncClient]
UNRECORDED = {"record": False, "path": "/x"}


class Listener:
    """A socket on 127.0.0.1 that keeps the request's bytes and writes `answers`; then it closes, or `holds`."""

    def __init__(self) -> None:
        self.answers: list[bytes] = [OK]
        self.holds = False
        self.port = 0
        self.received = self.body = b""
        self.clients: list[str] = []
        self.writers: list[asyncio.StreamWriter] = []
        self.ended = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, port = writer.get_extra_info("peername")
        self.clients.append(f"{host}:{port}")
        self.writers.append(writer)
        self.received = await reader.readuntil(b"\r\n\r\n")
        if length := re.search(rb"content-length: (\d+)", self.received):
            self.body = await reader.readexactly(int(length[1]))
        with contextlib.suppress(ConnectionError):
            for piece in self.answers:
                writer.write(piece)
                await writer.drain()
            if self.holds:
                await reader.read()
        writer.close()
        self.ended.set()

    @property
    def head(self) -> list[str]:
        return self.received.decode("latin-1").split("\r\n")[:-2]


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    listener = Listener()
    server = await asyncio.start_server(listener.serve, "127.0.0.1", 0)
    listener.port = server.sockets[0].getsockname()[1]
    yield listener
    server.close()
    for writer in listener.writers:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


Serve = Callable[..., Any]


@pytest.fixture
def serve(controller: Controller, gateways: Gateways) -> Serve:
    """Writes a Gateway with these listeners, and has a node serve it."""

    async def write(*listeners: JsonObject, applied: bool = True, **spec: object) -> None:
        document = {"apiVersion": "gatewright.dev/v1", "kind": "Gateway", "spec": {"listeners": listeners, **spec}}
        await gateways.replace(document)
        digest = node_pb2.Gateway.FromString(render(effective(document, {}, {}))).digest
        connect(controller.deployment, gateway_digest=digest if applied else "")

    return write


def connect(deployment: Deployment, **hello: Any) -> None:
    deployment.connect(node_pb2.Hello(node_id="n1", **hello))


@pytest.fixture
async def listening(listener: Listener, serve: Serve) -> Listener:
    """A listener that the gateway has."""
    await serve({"name": "http", "port": listener.port})
    return listener


def limited(**limits: Any) -> ApiLimits:
    """The limits of requests."""
    return ApiLimits(requests=RequestLimits(**limits))


async def sent(client: httpx.AsyncClient, **members: object) -> JsonObject:
    answer = await client.post("/v1/requests", json={**UNRECORDED, **members})
    assert answer.status_code == 200, answer.text
    found: JsonObject = answer.json()
    return found


async def refused(client: httpx.AsyncClient, status: int, **members: object) -> str:
    answer = await client.post("/v1/requests", json={**UNRECORDED, **members})
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    mistakes = [f"{mistake['field']}: {mistake['message']}" for mistake in answer.json().get("errors", [])]
    return "; ".join(mistakes or [answer.json()["detail"]])


# ------------------------------------------------------------ what goes out


async def test_the_request_is_sent_as_written_and_nothing_is_added(
    client: httpx.AsyncClient, listening: Listener
) -> None:
    await sent(client, method="GET", path="/a/b?c=d%20e", headers=[["X-A", "1"], ["x-a", "2"], ["x-u", "ü"]])
    host = f"127.0.0.1:{listening.port}"
    assert listening.head == ["GET /a/b?c=d%20e HTTP/1.1", f"host: {host}", "X-A: 1", "x-a: 2", "x-u: ü"]


@pytest.mark.parametrize(
    "named", [{"host": "shop.example"}, {"headers": [["Host", "shop.example"]]}], ids=["member", "header"]
)
async def test_the_host_is_sent_as_written(client: httpx.AsyncClient, listening: Listener, named: JsonObject) -> None:
    await sent(client, **named)
    assert listening.head == ["GET /x HTTP/1.1", "host: shop.example"]


async def test_the_host_is_the_listeners_own_by_default(
    client: httpx.AsyncClient, listener: Listener, serve: Serve
) -> None:
    hosts = ["*.example.com", "api.example.com"]
    await serve({"name": "http", "port": listener.port, "hosts": hosts})
    await sent(client)
    assert listener.head[1] == "host: api.example.com"


@pytest.mark.parametrize(
    ("body", "content"),
    [
        ({"text": "grüße"}, "grüße".encode()),
        ({"base64": base64.b64encode(b"\x00\xff").decode()}, b"\x00\xff"),
        ({}, b""),
    ],
    ids=["text", "base64", "none"],
)
async def test_a_body_goes_with_its_length(
    client: httpx.AsyncClient, listening: Listener, body: JsonObject, content: bytes
) -> None:
    await sent(client, method="POST", body=body)
    assert f"content-length: {len(content)}" in listening.head
    assert listening.body == content


@pytest.mark.parametrize(
    ("members", "sentence"),
    [
        ({"path": "x"}, "path: expected a path such as '/orders/7?full=1'"),
        ({"path": "http://169.254.169.254/"}, "path: expected a path"),
        ({"path": "/a b"}, "path: expected a path"),
        ({"path": "/ä"}, "path: expected a path"),
        ({"path": "/a\r\nx: y"}, "path: expected a path"),
        ({"method": "G ET"}, "method: expected a method such as 'GET', got 'G ET'"),
        ({"method": "connect"}, "method: expected a method that the gateway takes, got 'connect'"),
        ({"headers": [["a"]]}, "headers[0]: expected a list of a name and a value"),
        ({"headers": [["a b", "1"]]}, "headers[0]: expected a header's name, such as 'x-user', got 'a b'"),
        ({"headers": [["a", "1\r\nb: 2"]]}, "headers[0]: expected a value of printable"),
        ({"headers": [["a", "€"]]}, "headers[0]: expected a value of printable"),
        ({"headers": [["a", " 1"]]}, "headers[0]: expected a value of printable"),
        ({"headers": [["Connection", "close"]]}, "headers[0]: expected no header of the connection, got 'Connection'"),
        ({"headers": [["Upgrade", "websocket"]]}, "headers[0]: expected no header of the connection"),
        ({"headers": [["transfer-encoding", "chunked"]]}, "headers[0]: expected no header of the connection"),
        ({"headers": [["content-length", "7"]]}, "headers[0]: expected no content-length, got '7'"),
        ({"headers": [["host", "a"]], "host": "b"}, "headers: expected one host, got several"),
        ({"host": "a/b"}, "host: expected a host such as 'shop.example'"),
        ({"body": {"text": "a", "base64": ""}}, "body: expected text or base64, got both"),
        ({"body": {"base64": "?"}}, "body.base64: expected base64"),
        ({"body": {"text": "x" * (1024 * 1024 + 1)}}, "body: expected a body of at most 1048576 bytes, got 1048577"),
        ({"listener": "other"}, "listener: expected one of http, got 'other'"),
        ({"seconds": 121}, "seconds: expected seconds from 1 to 120"),
        ({"follow": True}, "follow"),
    ],
)
async def test_invalid_requests_are_refused(
    client: httpx.AsyncClient, listening: Listener, members: JsonObject, sentence: str
) -> None:
    assert sentence in await refused(client, 422, **members)
    assert listening.clients == []


async def test_all_mistakes_are_reported_at_once(client: httpx.AsyncClient) -> None:
    wrong = {"path": "x", "method": "G ET", "headers": [["te", "x"], ["a b", "1"]], "follow": True}
    answer = await client.post("/v1/requests", json=wrong)
    fields = sorted(mistake["field"] for mistake in answer.json()["errors"])
    assert fields == ["follow", "headers[0]", "headers[1]", "method", "path"]
    assert answer.json()["detail"] == "5 mistakes in the request"


async def test_a_web_page_of_another_origin_cannot_send_one(client: httpx.AsyncClient, listening: Listener) -> None:
    """A form, or a fetch without a preflight, can have only three content types."""
    answer = await client.post("/v1/requests", content=json.dumps(UNRECORDED), headers={"content-type": "text/plain"})
    assert answer.status_code == 415
    assert listening.clients == []


# ------------------------------------------------------------ what comes back


async def test_an_answer_comes_whole(client: httpx.AsyncClient, listening: Listener) -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"
    head = b"HTTP/1.1 404 Not Found\r\nX-A: 1\r\nx-a: 2\r\ntransfer-encoding: chunked\r\ntrailer: x-t\r\n\r\n"
    listening.answers = [early, head, b"3\r\nabc\r\n2\r\nde\r\n0\r\nx-t: 1\r\n\r\n"]
    answer = await sent(client)
    assert answer.pop("durationMs") > 0
    assert answer == {
        "status": 404,
        "protocol": "HTTP/1.1",
        "listener": "http",
        "headers": [["x-a", "1"], ["x-a", "2"], ["transfer-encoding", "chunked"], ["trailer", "x-t"]],
        "body": {"size": 5, "text": "abcde"},
        "trailers": [["x-t", "1"]],
        "recorded": False,
    }


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n"),
        ("DELETE", b"HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", b"HTTP/1.1 304 Not Modified\r\ncontent-length: 7\r\n\r\n"),
    ],
)
async def test_answers_without_a_body(
    client: httpx.AsyncClient, listening: Listener, method: str, answer: bytes
) -> None:
    listening.answers, listening.holds = [answer], True
    assert (await sent(client, method=method))["body"] == {"size": 0, "text": ""}


async def test_a_redirect_is_not_followed(client: httpx.AsyncClient, listening: Listener) -> None:
    listening.answers = [b"HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n"]
    answer = await sent(client)
    assert (answer["status"], len(listening.clients)) == (302, 1)


async def test_bytes_that_are_no_text(client: httpx.AsyncClient, listening: Listener) -> None:
    listening.answers = [b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n\xff\x00\xc3"]
    assert (await sent(client))["body"] == {"size": 3, "base64": "/wDD"}


async def test_a_long_body_is_kept_in_part(listening: Listener, client_with: ClientWith) -> None:
    """The body is cut within a character, which is left out."""
    client = client_with(limited(answer=AnswerLimits(kept_bytes=5)))
    body = "üüüü".encode()
    listening.answers = [b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\n", body[:3], body[3:]]
    assert (await sent(client))["body"] == {"size": 8, "text": "üü", "truncated": True}


async def test_a_body_without_end_is_not_read_on(listening: Listener, client_with: ClientWith) -> None:
    client = client_with(limited(answer=AnswerLimits(kept_bytes=4, read_bytes=1_000_000)))
    listening.answers = [b"HTTP/1.1 200 OK\r\n\r\n", *[b"x" * 100_000] * 100_000]
    answer = await sent(client)
    assert answer["error"] == "more than 1000000 bytes came; the rest was not read"
    assert answer["body"]["text"] == "xxxx"
    assert 1_000_000 < answer["body"]["size"] < 2_000_000
    async with asyncio.timeout(60):
        await listening.ended.wait()


@pytest.mark.parametrize("came", [[], [b"HTTP/1.1 200"]], ids=["nothing", "a part of the head"])
async def test_no_answer_in_time(client: httpx.AsyncClient, listening: Listener, came: list[bytes]) -> None:
    listening.answers, listening.holds = came, True
    assert "the answer had not begun after 1 s; " in await refused(client, 504, seconds=1)


async def test_an_answer_that_does_not_end_in_time_is_returned_as_far_as_it_came(
    client: httpx.AsyncClient, listening: Listener
) -> None:
    listening.answers, listening.holds = [b"HTTP/1.1 200 OK\r\n\r\nthe beginning"], True
    answer = await sent(client, seconds=3)  # by when it has begun
    assert answer["error"] == "the answer had not ended after 3 s"
    assert answer["body"] == {"size": 13, "text": "the beginning", "truncated": True}


async def test_an_answer_that_breaks_off_is_returned_as_far_as_it_came(
    client: httpx.AsyncClient, listening: Listener
) -> None:
    listening.answers = [b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nbegin"]
    answer = await sent(client)
    assert "received 5 bytes, expected 9" in answer["error"]
    assert answer["body"] == {"size": 5, "text": "begin", "truncated": True}


@pytest.mark.parametrize("came", [[], [b"SSH-2.0-OpenSSH_9.7\r\n"], [b"HTTP/1.1 2"]], ids=["nothing", "ssh", "cut"])
async def test_what_is_no_answer(client: httpx.AsyncClient, listening: Listener, came: list[bytes]) -> None:
    listening.answers = came
    assert "the connection ended before an answer had begun" in await refused(client, 502)


async def test_the_gateways_own_answers_say_their_request_id(client: httpx.AsyncClient, listening: Listener) -> None:
    body = b'{"requestId": "abc"}'
    listening.answers = [
        b"HTTP/1.1 404 Not Found\r\ncontent-type: application/problem+json\r\ncontent-length: 20\r\n\r\n" + body
    ]
    assert (await sent(client))["requestId"] == "abc"


# ------------------------------------------------------------ where it never goes


async def test_without_a_gateway_no_listener_is_known(client: httpx.AsyncClient, controller: Controller) -> None:
    connect(controller.deployment)
    assert "no Gateway was written here" in await refused(client, 409)


async def test_a_gateway_that_no_node_has_taken_is_no_place_to_send_to(
    client: httpx.AsyncClient, listener: Listener, serve: Serve
) -> None:
    """Otherwise a client that may write a Gateway could reach any service of this machine: a node that acknowledges a
    Gateway has the port itself.
    """
    await serve({"name": "http", "port": listener.port}, applied=False)
    assert "no node listens as the Gateway says (n1 has not acknowledged it yet)" in await refused(client, 409)
    assert listener.clients == []


async def test_a_node_that_keeps_its_own_gateway_is_no_sign_that_this_one_listens(
    client: httpx.AsyncClient, controller: Controller, listener: Listener, serve: Serve
) -> None:
    await serve({"name": "http", "port": listener.port}, applied=False)
    connect(controller.deployment, keeps_gateway=True)
    assert "no node that listens as the Gateway says is connected" in await refused(client, 409)
    assert listener.clients == []


@pytest.mark.parametrize("address", ["169.254.169.254", "192.0.2.1", "2001:db8::1"])
async def test_an_address_that_is_not_this_machines_is_not_asked(
    client: httpx.AsyncClient, serve: Serve, address: str
) -> None:
    await serve({"name": "far", "address": address, "port": 80})
    detail = await refused(client, 409)
    assert f"listens on {address}, which is no address of the controller's machine" in detail
    assert "curl" in detail


async def test_listeners_that_take_no_plain_request_are_passed_over(
    client: httpx.AsyncClient, listener: Listener, serve: Serve
) -> None:
    redirecting = {"name": "moved", "port": 9, "redirect": {}}
    behind = {"name": "behind", "port": 10, "proxyProtocol": True}
    trusted = {"trustedProxies": {"networks": ["10.0.0.0/8"]}}
    await serve(redirecting, behind, {"name": "plain", "port": listener.port}, **trusted)
    assert (await sent(client))["listener"] == "plain"
    assert "its connections begin with a PROXY header" in await refused(client, 409, listener="behind")


async def closed_port() -> int:
    with contextlib.closing(await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)) as server:
        port: int = server.sockets[0].getsockname()[1]
    await server.wait_closed()
    return port


@pytest.mark.parametrize(
    ("hosts", "asking", "expected"),
    [
        (["a.example", "b.example"], "a.example", "takes requests for b.example: say one of these as the host"),
        (["*.example", "a.example"], "*.example", "asks for a client's certificate, and the controller has none"),
        ([], "a.example", "asks clients of a.example for a certificate, and the controller has none"),
    ],
)
async def test_hosts_that_ask_for_certificates_are_named(
    client: httpx.AsyncClient, serve: Serve, hosts: list[str], asking: str, expected: str
) -> None:
    """The request goes to the first host that asks for no certificate, unless it names another."""
    tls = {"certificates": ["web"], "clientCertificatesByHost": {asking: {"authority": "partners"}}}
    files = {
        "certificates": {"web": {"certificateFile": "/c", "keyFile": "/k"}},
        "authorities": {"partners": {"file": "/a"}},
    }
    port = await closed_port()
    await serve({"name": "gone", "port": port, "protocol": "https", "hosts": hosts, "tls": tls}, **files)
    assert f"the listener gone {expected}" in await refused(client, 502)


async def test_a_listener_that_is_away_is_named_with_a_command(client: httpx.AsyncClient, serve: Serve) -> None:
    port = await closed_port()
    await serve({"name": "gone", "port": port})
    detail = await refused(client, 502, path="/it's")
    assert f"no connection to 127.0.0.1:{port} (" in detail
    assert f"curl -i -X GET 'http://127.0.0.1:{port}/it'\"'\"'s'" in detail


# ------------------------------------------------------------ at once


async def test_a_few_at_once_and_no_more(listening: Listener, client_with: ClientWith) -> None:
    client = client_with(limited(most_at_once=1))
    listening.answers, listening.holds = [], True
    first = asyncio.create_task(client.post("/v1/requests", json=UNRECORDED))
    async with asyncio.timeout(60):
        while not listening.clients:
            await asyncio.sleep(0.005)
    answer = await client.post("/v1/requests", json=UNRECORDED)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    listening.writers[0].write(OK)
    assert (await first).json()["status"] == 200
    listening.answers, listening.holds = [OK], False
    assert (await sent(client))["status"] == 200


# ------------------------------------------------------------ recorded


async def test_nodes_record_it_by_its_client_and_report_the_request_id(
    client: httpx.AsyncClient, listening: Listener, observations: Observations
) -> None:
    node = observations.connect("n1")
    listening.answers, questions = [OK], list[node_pb2.Observation]()

    async def engine() -> None:
        async for asked in node.messages():
            questions.append(asked)
            if asked.kept:
                assert not listening.received, "sent before the node has confirmed that it records"
                observations.receive(node, node_pb2.Observed(observation=asked.id, ended=True))
            if asked.stop:
                return

    async def ends() -> None:
        await listening.ended.wait()
        exchange = b'{"version": 1, "id": "the-id"}'
        observations.receive(node, node_pb2.Observed(observation=questions[0].id, exchanges=[exchange]))

    serving, ending = asyncio.create_task(engine()), asyncio.create_task(ends())
    answer = await sent(client, record=True)
    assert (answer["recorded"], answer.get("requestId")) == (True, "the-id"), answer
    await asyncio.gather(serving, ending)
    assert json.loads(questions[0].filter) == {"client": listening.clients[0]}
    assert questions[-1].stop


async def test_a_node_that_is_about_to_record_is_waited_for(
    client: httpx.AsyncClient, listening: Listener, observations: Observations
) -> None:
    """The node is connected, and its stream for observations is not yet: as after a start."""
    observations.nodes_changed()
    asked = asyncio.create_task(sent(client, record=True))
    async with asyncio.timeout(60):
        while not listening.clients:
            await asyncio.sleep(0.005)
    for _ in range(200):  # turns in which it would have been sent
        await asyncio.sleep(0)
    assert not listening.received
    node = observations.connect("n1")

    async def engine() -> None:
        async for question in node.messages():
            if not question.kept and not question.stop:
                questions.append(question)
            elif question.kept and not question.stop:
                observations.receive(node, node_pb2.Observed(observation=question.id, ended=True))

    questions = list[node_pb2.Observation]()
    serving = asyncio.create_task(engine())
    await listening.ended.wait()
    assert json.loads(questions[0].filter) == {"client": listening.clients[0]}
    assert (await asked)["status"] == 200
    serving.cancel()


@pytest.mark.usefixtures("listening")
async def test_a_request_that_no_policy_sees_is_not_waited_for(
    observations: Observations, client_with: ClientWith
) -> None:
    client = client_with(limited(recording=RecordingTimes(begin_seconds=0.01, end_seconds=3600.0)))
    observations.connect("n1")
    answer = await sent(client, record=True)
    assert answer["recorded"] is False
    assert answer["notRecorded"].startswith("no policy runs for it")


@pytest.mark.usefixtures("listening")
async def test_an_exchange_that_no_node_reports(
    observations: Observations, orders: JsonObject, client_with: ClientWith
) -> None:
    client = client_with(limited(recording=RecordingTimes(begin_seconds=0.01, end_seconds=0.01)))
    assert (await client.post("/v1/apis", json=orders)).status_code == 201
    observations.connect("n1")
    answer = await sent(client, record=True, path="/orders/v1.0/7")
    assert answer["recorded"] is False
    assert answer["notRecorded"].startswith("no node has reported it within 0.01 s")


@pytest.mark.usefixtures("listening")
async def test_why_no_node_records(client: httpx.AsyncClient, observations: Observations) -> None:
    node = observations.connect("n1")

    async def engine() -> None:
        async for asked in node.messages():
            refusal: JsonObject = {} if asked.kept or asked.stop else {"refused": "too old"}
            observations.receive(node, node_pb2.Observed(observation=asked.id, ended=True, **refusal))
            if asked.stop and not asked.kept:
                return

    serving = asyncio.create_task(engine())
    answer = await sent(client, record=True)
    assert (answer["recorded"], answer["notRecorded"]) == (False, "n1: too old")
    serving.cancel()
