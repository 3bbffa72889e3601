"""The process as an operator starts it: `python -m gatewright_controller`."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import queue
import signal
import socket
import ssl
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc
import httpx
import pytest
from cryptography import x509
from gatewright_controller._gen import node_pb2, node_pb2_grpc
from gatewright_controller.gateway.gateway_file import read_effective, render
from gatewright_controller.local.acme_folder import certificate_file
from gatewright_controller.nodes.node_server import ListenError
from gatewright_controller.server import serve
from gatewright_controller.settings import load_settings
from gatewright_controller.store import StoreError
from gatewright_documents.mistake import Invalid
from gatewright_documents.values import JsonObject

from e2e.kit.certificates import Authority, authority

pytestmark = pytest.mark.timeout(180)
Line = dict[str, object]


class Process:
    """One controller; `log` holds its lines as they come."""

    def __init__(self, *arguments: str, within: Sequence[str] = (), **environment: str) -> None:
        command = [*within, sys.executable, "-m", "gatewright_controller", *arguments]
        env = {"PATH": "/usr/bin", **environment}
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=env)
        self.lines: list[Line] = []
        self.strange: list[str] = []
        """Lines that are no JSON. There must be none."""
        self._url = ""
        self._ready: queue.Queue[Line | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr
        with self.process.stderr as lines:
            for text in lines:
                try:
                    self.lines.append(json.loads(text))
                except ValueError:
                    self.strange.append(text)
                    continue
                if self.lines[-1]["message"] == "ready":
                    self._ready.put(self.lines[-1])
        self._ready.put(None)

    def url(self) -> str:
        """The URL, once the controller is ready."""
        if not self._url:
            line = self._ready.get(timeout=30)
            assert line, self.lines
            self._url = f"http{'s' if line['tls'] else ''}://{line['listen']}"
        return self._url

    def wait_for(self, words: str) -> None:
        """Waits until a line of the log has the words."""
        end = time.monotonic() + 30
        while words not in self.log_text():
            assert time.monotonic() < end, self.lines
            assert self.process.poll() is None, self.lines
            time.sleep(0.01)

    def end(self, number: int = signal.SIGTERM) -> int:
        """The exit status."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        status = self.process.wait(20)
        self._reader.join(20)
        assert self.strange == []
        return status

    def log_text(self) -> str:
        return "\n".join(str(line["message"]) for line in self.lines)


Start = Callable[..., Process]


def arguments_of(folder: Path, testdata: Path) -> list[str]:
    return [
        "--listen", "127.0.0.1:0",
        "--node-listen", f"unix:{folder}/node.sock",
        "--definitions", str(testdata / "definitions"),
        "--database", f"sqlite:{folder}/controller.db",
    ]  # fmt: skip


@pytest.fixture
def arguments(tmp_path: Path, testdata: Path) -> list[str]:
    return arguments_of(tmp_path, testdata)


@pytest.fixture
def start(arguments: list[str]) -> Iterator[Start]:
    started: list[Process] = []

    def run(*more: str, **environment: str) -> Process:
        started.append(Process(*arguments, *more, **environment))
        return started[-1]

    yield run
    for controller in started:
        if controller.process.poll() is None:
            controller.end(signal.SIGKILL)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, testdata: Path) -> Iterator[Process]:
    """A controller of several tests, which only send requests. Their APIs have names and contexts of their own."""
    controller = Process(*arguments_of(tmp_path_factory.mktemp("shared"), testdata))
    controller.url()
    yield controller
    assert controller.end() == 0


def test_a_life(start: Start, tmp_path: Path) -> None:
    controller = start()
    url = controller.url()
    assert httpx.get(f"{url}/healthz").json() == {"status": "ok"}
    for name in ("node.sock", "controller.db"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
    assert controller.end() == 0
    assert not (tmp_path / "node.sock").exists()
    assert controller.log_text() == "ready\nstopping\nstopped"
    for line in controller.lines:
        assert line.keys() >= {"time", "level", "component", "message"}
        assert line["component"] == "controller"


def test_no_answer_waits_for_the_clients_acknowledgement(shared: Process) -> None:
    """Without TCP_NODELAY, what follows an answer's first packet waits for one, which the system delays by 40 ms."""
    with httpx.Client(base_url=shared.url()) as client:
        took = [client.get("/v1/apis").elapsed.total_seconds() for _ in range(20)]
    assert min(took[1:]) < 0.035


def test_an_api_goes_from_the_rest_interface_to_a_node_and_back(
    start: Start, tmp_path: Path, orders: JsonObject
) -> None:
    url = start().url()
    policies = httpx.get(f"{url}/v1/policies").json()["policies"]
    messages: queue.Queue[node_pb2.NodeMessage | None] = queue.Queue()
    refs = [
        node_pb2.PolicyRef(name=policy["name"], version=policy["version"], definition_digest=policy["definitionDigest"])
        for policy in policies
    ]
    messages.put(node_pb2.NodeMessage(hello=node_pb2.Hello(node_id="n1", policies=refs)))
    with grpc.insecure_channel(f"unix:{tmp_path}/node.sock") as channel:
        updates = node_pb2_grpc.NodeServiceStub(channel).Sync(iter(messages.get, None), timeout=30)
        assert next(updates).update == node_pb2.Update()

        def acknowledge() -> None:
            update = next(updates).update
            done = node_pb2.ApiStatus.STATE_APPLIED
            apis = [node_pb2.ApiStatus(api=bundle.api, digest=bundle.digest, state=done) for bundle in update.bundles]
            messages.put(node_pb2.NodeMessage(report=node_pb2.Report(revision=update.revision, apis=apis)))

        node = threading.Thread(target=acknowledge)
        node.start()
        created = httpx.post(f"{url}/v1/apis?wait=20", json=orders, timeout=30)
        node.join(20)
        messages.put(None)
        updates.cancel()
    assert (created.status_code, created.json()["status"]["state"]) == (201, "deployed")


def test_waiting_clients_do_not_hold_up_the_end(start: Start, orders: JsonObject) -> None:
    controller = start()
    url = controller.url()
    answers: list[httpx.Response] = []
    waiting = threading.Thread(
        target=lambda: answers.append(httpx.post(f"{url}/v1/apis?wait=300", json=orders, timeout=60))
    )
    waiting.start()
    with httpx.Client(base_url=url) as client:
        while not client.get("/v1/apis").json()["apis"]:
            time.sleep(0.01)
    assert controller.end() == 0
    waiting.join(20)
    assert answers[0].json()["status"]["state"] == "pending"


def test_watching_clients_get_an_event_for_the_end(start: Start, tmp_path: Path) -> None:
    controller = start(GATEWRIGHT_CONTROLLER_TOKEN="s3cret")  # noqa: S106
    url = controller.url()
    assert httpx.get(f"{url}/v1/exchanges").status_code == 401
    messages: queue.Queue[node_pb2.Observed | None] = queue.Queue()
    messages.put(node_pb2.Observed(node_id="n1"))
    headers = {"authorization": "Bearer s3cret"}
    with grpc.insecure_channel(f"unix:{tmp_path}/node.sock") as channel:
        asked = node_pb2_grpc.NodeServiceStub(channel).Observe(iter(messages.get, None), timeout=30)
        with httpx.stream("GET", f"{url}/v1/exchanges", headers=headers, timeout=30) as answer:
            assert next(asked).filter == b"{}"
            assert controller.end() == 0
            text = "".join(answer.iter_text())
        messages.put(None)
    assert text.endswith('event: ended\ndata: {"reason":"stopping"}\n\n')


def test_killed_in_the_middle_of_writes_it_has_lost_nothing_it_acknowledged(start: Start, orders: JsonObject) -> None:
    controller = start()
    url = controller.url()
    answers: queue.Queue[httpx.Response] = queue.Queue()
    writers = [
        threading.Thread(target=write_until_killed, args=(url, f"api-{number}", orders, answers)) for number in range(4)
    ]
    for writer in writers:
        writer.start()
    acknowledged = [answers.get(timeout=30) for _ in range(40)]
    controller.end(signal.SIGKILL)
    for writer in writers:
        writer.join(30)
    acknowledged += [answers.get_nowait() for _ in range(answers.qsize())]
    assert {answer.status_code for answer in acknowledged} == {201}
    kept = {api["metadata"]["name"]: api for api in httpx.get(f"{start().url()}/v1/apis", timeout=30).json()["apis"]}
    assert len({api["status"]["revision"] for api in kept.values()}) == len(kept)
    for answer in acknowledged:
        assert kept[answer.json()["metadata"]["name"]]["spec"] == answer.json()["spec"]
    assert len(kept) <= len(acknowledged) + len(writers)


def write_until_killed(url: str, name: str, orders: JsonObject, answers: queue.Queue[httpx.Response]) -> None:
    with httpx.Client(base_url=url, timeout=30) as client, contextlib.suppress(httpx.TransportError):
        for number in range(10_000):
            metadata = {"name": f"{name}-{number}"}
            spec = {**orders["spec"], "context": f"/{name}/{number}"}
            answers.put(client.post("/v1/apis", json={**orders, "metadata": metadata, "spec": spec}))


BOMB = "\n".join(
    ["a0: &a0 [x,x,x,x,x,x,x,x,x,x]", *(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12))]
)
KEYS = "{" + ",".join(f'"k{number}":1' for number in range(90_000)) + ',"k1":1}'


@pytest.mark.parametrize(
    ("media_type", "body"),
    [("yaml", BOMB), ("yaml", "a: &a [*a]"), ("yaml", "a: [" + "x," * 500_000 + "]"), ("json", KEYS),
     ("json", "[" * 1_000_000), ("json", '{"a": ' + "9" * 5000 + "}")],
)  # fmt: skip
def test_a_body_that_takes_long_to_read_delays_no_other_answer(shared: Process, media_type: str, body: str) -> None:
    url, headers, answers = shared.url(), {"content-type": f"application/{media_type}"}, list[httpx.Response]()

    def send() -> None:
        answers.append(httpx.post(f"{url}/v1/apis", content=body, headers=headers, timeout=60))

    senders = [threading.Thread(target=send) for _ in range(4)]
    for sender in senders:
        sender.start()
    with httpx.Client(timeout=30) as client:
        while any(sender.is_alive() for sender in senders):
            assert client.get(f"{url}/healthz").status_code == 200
            senders[0].join(0.02)
    assert [answer.status_code for answer in answers] == [400] * 4
    assert [line for line in shared.lines if line["level"] != "info"] == []


@pytest.mark.parametrize("count", [200, 400])
def test_connections_that_send_half_a_request_delay_no_other_answer(
    shared: Process, orders: JsonObject, count: int
) -> None:
    url = shared.url()
    host, _, port = url.removeprefix("http://").partition(":")
    with contextlib.ExitStack() as stack:
        for number in range(count):
            half = stack.enter_context(socket.create_connection((host, int(port))))
            half.sendall((b"", b"POST /v1/ap", b"POST /v1/apis HTTP/1.1\r\nhost: localhost\r\n")[number % 3])
        for number in range(10):
            assert httpx.get(f"{url}/healthz", timeout=30).status_code == 200
            name = f"beside-{count}-{number}"
            document = {**orders, "metadata": {"name": name}, "spec": {**orders["spec"], "context": f"/{name}"}}
            assert httpx.post(f"{url}/v1/apis", json=document, timeout=30).status_code == 201


def test_a_taken_port_is_named(start: Start) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        controller = start("--listen", f"127.0.0.1:{port}")
        assert controller.wait() == 1
    assert f"cannot listen on 127.0.0.1:{port}" in controller.log_text()
    assert f"stop what uses port {port}, or choose another with --listen" in controller.log_text()


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--settings", "/no/such/file"], "/no/such/file: expected a settings file"),
        (["--listen", "0.0.0.0:0"], "expected a token for the management API on 0.0.0.0:0, got none"),
    ],
)
def test_a_mistake_of_the_operator_is_logged_in_one_line(start: Start, more: list[str], sentence: str) -> None:
    controller = start(*more)
    assert controller.wait() == 1
    assert sentence in controller.log_text()
    assert all(line["level"] == "error" and "error" not in line for line in controller.lines)


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ({"listen": "8080"}, "expected HOST:PORT, got '8080'"),
        ({"node_listen": "0.0.0.0:1"}, "expected unix:PATH or a loopback address for nodes"),
        ({"definitions": "/no/such/folder"}, "/no/such/folder: expected a folder of policy definitions"),
        ({"database": "mysql://x"}, "expected a database such as sqlite:"),
        ({"rendered_gateway": "/x"}, "renderedGateway: expected a Gateway to render, got none: name one"),
    ],
)
def test_a_mistake_of_the_operator_ends_the_start(arguments: list[str], setting: dict[str, str], sentence: str) -> None:
    """Without a process: the test above has how a mistake is logged."""
    options = {name[2:].replace("-", "_"): value for name, value in zip(arguments[::2], arguments[1::2], strict=True)}
    with pytest.raises((Invalid, ListenError, StoreError)) as caught:
        asyncio.run(serve(load_settings(None, {}, options | setting)))
    assert sentence in str(caught.value)


DAMAGED = "controller.db is damaged: file is not a database"
NO_ROOM = "the disk is full"
FULL = ["env", "PYTHONDONTWRITEBYTECODE=1", "prlimit", "--fsize=4096"]
"""It would leave bytecode that is cut short to the next process."""


@pytest.mark.parametrize(("within", "sentence"), [([], DAMAGED), (FULL, NO_ROOM)])
def test_a_controller_without_a_database_ends_where_no_node_serves(
    arguments: list[str], tmp_path: Path, within: list[str], sentence: str
) -> None:
    if not within:
        (tmp_path / "controller.db").write_text("no database" * 100)
    controller = Process(*arguments, "--last-good", str(tmp_path / "last-good"), within=within)
    assert controller.wait() == 1
    (line,) = controller.lines
    assert str(line["message"]).startswith("the controller cannot open its database: ")
    assert sentence in str(line["message"])


def test_a_controller_whose_node_serves_logs_why_it_has_no_database_and_opens_it_later(
    start: Start, tmp_path: Path, orders: JsonObject
) -> None:
    (tmp_path / "last-good").touch()
    database = tmp_path / "controller.db"
    database.write_text("no database" * 100)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    asked = "--listen", f"127.0.0.1:{port}", "--last-good", str(tmp_path / "last-good")
    controller = start(*asked, GATEWRIGHT_CONTROLLER_TOKEN="s3cret")  # noqa: S106
    transport = httpx.HTTPTransport(retries=10)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", transport=transport, timeout=30) as client:
        health = client.get("/healthz")
        assert health.status_code == 200
        assert health.json()["status"] == "no database"
        assert client.get("/").status_code == 200, "the Inspector's page"
        assert client.get("/v1/apis").status_code == 401
        client.headers["authorization"] = "Bearer s3cret"
        answer = client.post("/v1/apis", json=orders)
        assert answer.status_code == 503
        assert answer.json()["type"] == "urn:gatewright:problem:no-database"
        assert DAMAGED in answer.json()["detail"]
        database.unlink()
        assert controller.url() == f"http://127.0.0.1:{port}"
        assert client.get("/v1/apis").json() == {"apis": []}
    assert controller.end() == 0
    assert "the database can be opened again" in controller.log_text()


def test_the_gateway_is_rendered_for_an_engine_before_there_is_a_database(start: Start, tmp_path: Path) -> None:
    (tmp_path / "last-good").touch()
    (tmp_path / "controller.db").write_text("no database" * 100)
    file, rendered, folder = tmp_path / "gateway.json", tmp_path / "gateway.binpb", tmp_path / "acme"
    asked = {"hosts": ["web.example"], "termsOfServiceAgreed": True}
    spec = {"certificates": {"web": {"acme": asked}}}
    file.write_text(json.dumps({"apiVersion": "gatewright.dev/v1", "kind": "Gateway", "spec": spec}))
    files = "--gateway", str(file), "--rendered-gateway", str(rendered), "--acme-folder", str(folder)
    start("--last-good", str(tmp_path / "last-good"), *files).wait_for("cannot open its database")
    assert rendered.read_bytes() == render(read_effective(file), folder)
    assert stat.S_IMODE(rendered.stat().st_mode) == 0o600
    assert "BEGIN CERTIFICATE" in certificate_file(folder, "web").read_text(), "a placeholder"


def test_a_rendered_gateway_that_cannot_be_written_ends_the_start(start: Start, tmp_path: Path) -> None:
    (tmp_path / "gateway.json").write_text('{"apiVersion": "gatewright.dev/v1", "kind": "Gateway"}')
    controller = start("--gateway", str(tmp_path / "gateway.json"), "--rendered-gateway", "/proc/none/gateway.binpb")
    assert controller.wait() == 1
    assert "renderedGateway: it could not be written (/proc/none: " in controller.log_text()


def test_a_controller_that_waits_for_its_database_ends_at_a_signal(start: Start, tmp_path: Path) -> None:
    (tmp_path / "last-good").touch()
    (tmp_path / "controller.db").write_text("no database" * 100)
    controller = start("--last-good", str(tmp_path / "last-good"))
    controller.wait_for("cannot open its database")
    assert controller.end() == 0
    assert "ready" not in controller.log_text()


def test_with_a_token_it_may_listen_everywhere_and_asks_for_it(start: Start) -> None:
    environment = {"GATEWRIGHT_CONTROLLER_TOKEN": "s3cret"}
    url = start("--listen", "0.0.0.0:0", **environment).url().replace("0.0.0.0", "127.0.0.1")  # noqa: S104
    assert httpx.get(f"{url}/v1/apis").status_code == 401
    assert httpx.get(f"{url}/v1/apis", headers={"Authorization": "Bearer s3cret"}).json() == {"apis": []}
    assert httpx.get(f"{url}/healthz").status_code == 200


CLEAR = "go in clear: name a certificate with --tls-certificate or GATEWRIGHT_CONTROLLER_TLS_CERTIFICATE, or listen on"


def test_a_controller_beyond_this_machine_warns_that_its_token_goes_in_clear(start: Start, signed: Signed) -> None:
    token = {"GATEWRIGHT_CONTROLLER_TOKEN": "s3cret"}
    everywhere = "--listen", "0.0.0.0:0"
    for options, warnings in ((everywhere, 1), ((*everywhere, *signed.options), 0), ((), 0)):
        controller = start(*options, **token)
        controller.url()
        assert controller.end() == 0
        assert controller.log_text().count(CLEAR) == warnings
    refused = start(*everywhere, *signed.options)
    assert refused.wait() == 1
    assert "expected a token for the management API on 0.0.0.0:0, got none" in refused.log_text()


@dataclass
class Signed:
    """The files of a certificate for 127.0.0.1, as the controller's options, and trust in it."""

    signer: Authority
    pair: tuple[Path, Path]

    @property
    def options(self) -> tuple[str, ...]:
        return "--tls-certificate", str(self.pair[0]), "--tls-key", str(self.pair[1])

    @property
    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.signer.file)


@pytest.fixture
def signed(tmp_path: Path) -> Signed:
    (tmp_path / "tls").mkdir()
    signer = authority(tmp_path / "tls")
    return Signed(signer, signer.issue("controller", "127.0.0.1"))


def serial_number(client: httpx.Client, url: str) -> int:
    """That of the certificate of the connection on which the answer comes."""
    with client.stream("GET", f"{url}/healthz") as answer:
        stream = answer.extensions["network_stream"]
        certificate = stream.get_extra_info("ssl_object").getpeercert(True)
        assert b"".join(answer.iter_bytes()) == b'{"status":"ok"}'
    return x509.load_der_x509_certificate(certificate).serial_number


def test_with_a_certificate_it_speaks_tls_and_renews_it_without_losing_a_connection(
    start: Start, signed: Signed
) -> None:
    controller = start(*signed.options)
    url = controller.url()
    assert url.startswith("https://")
    with httpx.Client(verify=signed.trust) as open_before:
        first = serial_number(open_before, url)
        assert httpx.get(url.replace("https", "http")).json() == {
            "type": "about:blank",
            "title": "Bad Request",
            "status": 400,
            "detail": "expected TLS, got a request in clear: use https:// for this port",
        }
        new = signed.signer.issue("new", "127.0.0.1")
        for file, renewed in zip(signed.pair, new, strict=True):
            renewed.rename(file)
        controller.wait_for("the renewed certificate is used")
        assert serial_number(open_before, url) == first
        with httpx.Client(verify=signed.trust) as open_after:
            assert serial_number(open_after, url) != first
        assert controller.end() == 0


def test_while_the_database_cannot_be_opened_it_speaks_tls(start: Start, signed: Signed, tmp_path: Path) -> None:
    (tmp_path / "last-good").touch()
    (tmp_path / "controller.db").write_text("no database" * 100)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    start("--listen", f"127.0.0.1:{port}", "--last-good", str(tmp_path / "last-good"), *signed.options)
    transport = httpx.HTTPTransport(verify=signed.trust, retries=10)
    with httpx.Client(base_url=f"https://127.0.0.1:{port}", transport=transport, timeout=30) as client:
        assert client.get("/healthz").json()["status"] == "no database"


def test_a_certificate_that_cannot_be_used_ends_the_start(start: Start, signed: Signed) -> None:
    wrong = start("--tls-certificate", str(signed.pair[0]), "--tls-key", str(signed.signer.file))
    assert wrong.wait() == 1
    (line,) = wrong.lines
    assert line["message"] == (
        f"tlsKey: {signed.signer.file}: expected a PEM block PRIVATE KEY, got none: name the certificate's key, in PEM"
    )


def test_with_an_openid_provider_it_may_listen_everywhere_and_asks_for_credentials(start: Start) -> None:
    """The provider is away: what needs it is answered so, and the start does not wait for it."""
    grant = "{claim: groups, value: ops, role: admin}"
    oidc = f"{{issuer: 'http://127.0.0.1:1', audience: gatewright, grants: [{grant}]}}"
    url = start("--listen", "0.0.0.0:0", GATEWRIGHT_CONTROLLER_OIDC=oidc).url().replace("0.0.0.0", "127.0.0.1")  # noqa: S104
    assert httpx.get(f"{url}/v1/apis").status_code == 401
    header, claims = ('{"alg":"RS256"}', '{"iss":"http://127.0.0.1:1"}')
    parts = (base64.urlsafe_b64encode(part.encode()).rstrip(b"=").decode() for part in (header, claims, "signature"))
    away = httpx.get(f"{url}/v1/apis", headers={"authorization": f"Bearer {'.'.join(parts)}"})
    assert (away.status_code, away.headers["retry-after"]) == (503, "5")
    assert "the OpenID provider http://127.0.0.1:1 cannot be asked" in away.json()["detail"]


def test_the_controllers_own_port_is_no_upstream(shared: Process, orders: JsonObject) -> None:
    def answers(url: str, upstream: str) -> httpx.Response:
        orders["spec"]["upstream"]["main"]["url"] = upstream
        return httpx.post(f"{url}/v1/apis", json=orders)

    url = shared.url()
    for upstream in (url, url.replace("127.0.0.1", "localhost"), url.replace("127.0.0.1", "[::ffff:127.0.0.1]")):
        refused = answers(url, upstream)
        assert refused.status_code == 422
        (error,) = refused.json()["errors"]
        assert error["field"] == "spec.upstream.main.url"
        assert "a private port of the gateway itself; an operator can allow it" in error["message"]


def test_an_operator_allows_upstreams_by_settings(start: Start, orders: JsonObject) -> None:
    orders["spec"]["upstream"]["main"]["url"] = "http://169.254.169.254"
    url = start(GATEWRIGHT_CONTROLLER_ALLOWED_UPSTREAMS="[169.254.0.0/16]").url()
    assert httpx.post(f"{url}/v1/apis", json=orders).status_code == 201
    wrong = start("--database", "sqlite::memory:", GATEWRIGHT_CONTROLLER_ALLOWED_UPSTREAMS="[here]")
    assert wrong.wait() == 1
    assert (
        "allowedUpstreams: expected HOST:PORT, a network such as 169.254.0.0/16, or unix:/path, got 'here'"
        in wrong.log_text()
    )


def test_an_api_whose_upstream_is_private_now_is_suspended(start: Start, orders: JsonObject) -> None:
    orders["spec"]["upstream"]["main"]["url"] = "http://169.254.169.254"
    allowing = start(GATEWRIGHT_CONTROLLER_ALLOWED_UPSTREAMS="[169.254.0.0/16]")
    assert httpx.post(f"{allowing.url()}/v1/apis", json=orders).status_code == 201
    assert allowing.end() == 0
    status = httpx.get(f"{start().url()}/v1/apis/orders-v1/status").json()
    assert status["state"] == "rejected"
    assert "a link-local address; an operator can allow it" in status["reason"]


def test_a_second_controller_leaves_the_first_ones_socket_alone(start: Start) -> None:
    url = start().url()
    second = start()
    assert second.wait() == 1
    assert "another controller does" in second.log_text()
    assert httpx.get(f"{url}/healthz").status_code == 200


def test_a_process_of_the_same_user_cannot_look_into_it(arguments: list[str]) -> None:
    """Root without capabilities stands for an ordinary user: root itself may look into everything."""
    within = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []
    controller = Process(*arguments, within=within)
    try:
        controller.url()
        command = [*within, "cat", f"/proc/{controller.process.pid}/environ"]
        read = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
        assert (read.returncode, read.stdout) == (1, "")
        assert "Permission denied" in read.stderr
    finally:
        controller.end()
