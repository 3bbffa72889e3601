"""Listeners of a node: several of them, certificates from files, and changes of both while requests come."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import ssl
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from e2e.kit import clients
from e2e.kit.certificates import Authority, authority
from e2e.kit.engine_differences import differs_in_envoy
from e2e.kit.gateway import Gateway, Json, api, attach, eventually, running
from e2e.kit.listening import free_port, write
from e2e.kit.traffic import traffic
from e2e.kit.upstream import Upstream


def https(port: int, **more: object) -> Json:
    return {"name": "https", "port": port, "protocol": "https", "tls": {"certificates": ["web"]}, **more}


def certificates(chain: Path, key: Path) -> Json:
    return {"web": {"certificateFile": str(chain), "keyFile": str(key)}}


@dataclass(frozen=True)
class Node:
    """A gateway with a gateway.yaml of its own, which tests write anew. http: its listener, at a port that stays."""

    gateway: Gateway
    file: Path
    http: Json

    @property
    def port(self) -> int:
        port: int = self.http["port"]
        return port

    @property
    def state(self) -> Path:
        return self.file.parent / "state"

    def listen(self, *listeners: Json, **spec: object) -> str:
        """Reloads with these listeners; the output."""
        write(self.file, *listeners, **spec)
        result = self.gateway.reload()
        assert result.returncode == 0, result.stderr
        return result.stdout

    def refuse(self, *listeners: Json, **spec: object) -> str:
        """Reloads with listeners that must be refused; the error output."""
        write(self.file, *listeners, **spec)
        result = self.gateway.reload()
        assert result.returncode == 1, result.stdout
        return result.stderr


@pytest.fixture(scope="module")
def shared_node(build: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    folder, http = tmp_path_factory.mktemp("node"), {"name": "http", "port": free_port()}
    file = write(folder / "gateway.yaml", http)
    options = ("--gateway", str(file), "--port", str(http["port"]))
    with running(build, folder / "state", *options) as gateway:
        yield Node(gateway, file, http)


@pytest.fixture
def node(shared_node: Node) -> Iterator[Node]:
    """A node with one listener, before and after each test."""
    before = shared_node.file.read_text()
    yield shared_node
    if shared_node.file.read_text() != before:
        shared_node.listen(shared_node.http)


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def trust(ca: Authority) -> ssl.SSLContext:
    return _trust_only(ca)


def _trust_only(ca: Authority) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(ca.file)
    return context


def shown_certificate(port: int, trust: ssl.SSLContext) -> bytes:
    """The certificate that a new connection is shown, none where there is no connection."""
    try:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=5) as plain,
            trust.wrap_socket(plain, server_hostname="127.0.0.1") as tls,
        ):
            return tls.getpeercert(binary_form=True) or b""
    except OSError:
        return b""


@differs_in_envoy(
    "Where Envoy ends, the engine forgets the certificate that it serves in the place of a file that cannot be used."
)
def test_a_broken_certificate_leaves_the_one_before_and_keys_stand_nowhere(
    node: Node, ca: Authority, trust: ssl.SSLContext
) -> None:
    """Changes of certificates without a failed request are in test_live_changes.py."""
    gateway, port = node.gateway, free_port()
    chain, key = ca.issue("web", "127.0.0.1")
    node.listen(node.http, https(port), certificates=certificates(chain, key))
    ca.issue("web", "127.0.0.1")
    expected = ssl.PEM_cert_to_DER_cert(chain.read_text())
    eventually("the new one is shown", lambda: shown_certificate(port, trust) == expected)
    chain.write_text("-----BEGIN CERTIFICATE-----\n")
    broken = "certificate files cannot be used; their previous content is still served"
    eventually("a broken file is reported", lambda: gateway.find_records(message=broken))
    assert str(chain) in gateway.find_records(message=broken)[0]["reason"]
    assert shown_certificate(port, trust) == expected, "expected the old one to stay"
    gateway.kill("envoy")
    eventually("a new Envoy shows it too", lambda: shown_certificate(port, trust) == expected, 30)
    keys = key.read_text().splitlines()[1]
    assert not [line for line in gateway.log if keys in line]
    assert keys.encode() not in b"".join(path.read_bytes() for path in node.state.rglob("*") if path.is_file())


def test_listeners_change_without_a_failed_request(
    node: Node, upstream: Upstream, ca: Authority, trust: ssl.SSLContext
) -> None:
    web = certificates(*ca.issue("web", "127.0.0.1"))
    gateway, http, second = node.gateway, node.http, free_port()
    gateway.deploy(
        api("changing", upstream.url, [attach("add-python-header", {"headerName": "x", "headerValue": "y"})])
    )
    with traffic(f"{gateway.url}/changing/x", clients=4, pause=0.1) as (flow,):
        assert "listeners: as the Gateway says now" in node.listen(http, https(second), certificates=web)
        secure = f"https://127.0.0.1:{second}"
        assert httpx.get(f"{secure}/changing/x", verify=trust).status_code == 200
        assert [listener["url"] for listener in gateway.status()["listeners"]] == [gateway.url, secure]
        for idle in ("40s", "41s"):  # the listener that is under load
            node.listen(http, https(second), certificates=web, timeouts={"connectionIdle": idle})
        node.listen(http)
        eventually("the port is closed", lambda: _is_closed(second))
        assert "nothing to reload" in node.listen(http)
        eventually("steady", flow.is_steady)
    assert set(flow.counts()) == {200}, flow.problems[:3]


def _is_closed(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except ConnectionRefusedError:
        return True
    return False


def test_a_refused_reload_keeps_the_listeners(node: Node, tmp_path: Path, upstream: Upstream) -> None:
    http = node.http
    node.gateway.deploy(api("stays", upstream.url))

    def refused(*listeners: Json, **spec: object) -> str:
        message = node.refuse(*listeners, **spec)
        assert httpx.get(f"{node.gateway.url}/stays/x").status_code == 200
        return message

    with socket.create_server(("127.0.0.1", 0)) as taken:
        other = taken.getsockname()[1]
        message = refused(http, {"name": "other", "port": other})
    assert f"port {other} on 127.0.0.1 is taken (by " in message
    assert f"choose another in {node.file}, listener other" in message
    assert f"{node.file}:" in refused(http, {"name": "other", "port": "x"})
    missing = tmp_path / "none.pem"
    message = refused(http, https(free_port()), certificates=certificates(missing, missing))
    assert f"certificate web: {missing}: expected a file that can be read, got: No such file" in message
    assert "nothing to reload" in node.listen(http)


def _status_of(url: str) -> int:
    try:
        return httpx.get(url).status_code
    except httpx.HTTPError:
        return 0


def test_a_node_listens_and_reloads_without_a_controller(
    node: Node, build: Path, tmp_path: Path, upstream: Upstream, ca: Authority, trust: ssl.SSLContext
) -> None:
    """From the last good state of another node."""
    web = certificates(*ca.issue("web", "127.0.0.1"))
    port, secure = free_port(), free_port()
    http: Json = {"name": "http", "port": port}
    file = write(tmp_path / "gateway.yaml", http)
    node.gateway.deploy(api("kept", upstream.url))
    shutil.copytree(node.state / "engine", tmp_path / "state" / "engine")
    alone = ("--no-controller", "--gateway", str(file), "--port", str(port))
    with running(build, tmp_path / "state", *alone) as gateway:
        assert httpx.get(f"{gateway.url}/kept/x").status_code == 200
        write(file, http, https(secure), certificates=web)
        assert gateway.reload().returncode == 0
        assert httpx.get(f"https://127.0.0.1:{secure}/kept/x", verify=trust).status_code == 200
        gateway.kill("engine")
        eventually("the engine is back", lambda: gateway.process_status("engine")["state"] == "ready", 30)
        gateway.kill("envoy")
        eventually("a new Envoy has both", lambda: _status_of(f"{gateway.url}/kept/x") == 200, 30)
        assert httpx.get(f"https://127.0.0.1:{secure}/kept/x", verify=trust).status_code == 200
        write(file, http, https(secure, address="192.0.2.1"), certificates=web)
        assert "192.0.2.1" in gateway.reload().stderr


def test_a_stop_loses_no_request_on_any_listener(build: Path, tmp_path: Path, upstream: Upstream) -> None:
    """Two listeners on one address, and one of IPv6."""
    hosts = ("127.0.0.1", "127.0.0.1", "::1")
    listeners: list[Json] = [
        {"name": f"listener-{number}", "address": host, "port": free_port(host)} for number, host in enumerate(hosts)
    ]
    file = write(tmp_path / "gateway.yaml", *listeners)
    with running(build, tmp_path / "state", "--gateway", str(file), "--port", str(listeners[0]["port"])) as gateway:
        gateway.deploy(api("stopping", upstream.url))
        urls = [listener["url"] for listener in gateway.status()["listeners"]]
        assert [url.rsplit(":", 1)[1] for url in urls] == [str(listener["port"]) for listener in listeners]
        with ExitStack() as stack:
            flows = [
                stack.enter_context(clients.run_clients(f"{url}/stopping/x", keep_alive=False, clients=2))
                for url in urls
            ]
            eventually("traffic flows", lambda: min(flow.answered for flow in flows) > 50)
            assert gateway.stop() == 0
    for flow in flows:
        assert flow.lost == []
        assert flow.first_refusal > flow.last_answered_connect
    assert "could not be drained" not in "".join(gateway.log)


def shortcomings_of(gateway: Gateway) -> tuple[int, list[str]]:
    """The exit status of `gatewright status`, and the shortcomings."""
    command = ["gatewright", "status", "--json", "--run-dir", str(gateway.run_dir)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return result.returncode, json.loads(result.stdout)["shortcomings"]


def test_unusable_files_close_only_the_listeners_that_need_them(
    build: Path, tmp_path: Path, ca: Authority, upstream: Upstream
) -> None:
    """At a start, while it runs, and after the engine was started again."""
    (good, good_key), (bad, bad_key) = ca.issue("good", "127.0.0.1"), ca.issue("bad", "127.0.0.1")
    certificates_by_name = {
        "good": {"certificateFile": str(good), "keyFile": str(good_key)},
        "bad": {"certificateFile": str(bad), "keyFile": str(bad_key)},
    }
    original = bad.read_text()
    bad.write_text("hello")
    both, lone, admin = (free_port() for _ in range(3))
    listeners = [
        {"name": "http", "port": free_port()},
        {"name": "both", "port": both, "protocol": "https", "tls": {"certificates": ["good", "bad"]}},
        {"name": "lone", "port": lone, "protocol": "https", "tls": {"certificates": ["bad"]}},
    ]
    file = write(tmp_path / "gateway.yaml", *listeners, certificates=certificates_by_name, admin={"port": admin})
    trusting = ssl.create_default_context(cafile=str(ca.file))
    with running(build, tmp_path / "state", "--gateway", str(file)) as gateway:
        gateway.deploy(api("files", upstream.url))

        def answered(port: int) -> int:
            return httpx.get(f"https://127.0.0.1:{port}/files/x", verify=trusting).status_code

        def is_open(port: int) -> bool:
            with contextlib.suppress(httpx.HTTPError):
                return answered(port) == 200
            return False

        reason = f"{bad}: expected a PEM block CERTIFICATE"
        gateway.wait_printed("  closed   the listener lone")
        gateway.wait_printed(reason)
        assert answered(both) == 200
        code, shortcomings = shortcomings_of(gateway)
        assert (code, shortcomings[0].partition(" (")[0]) == (3, "the listener lone is closed")
        assert reason in shortcomings[1]
        ready = httpx.get(f"http://127.0.0.1:{admin}/ready")
        assert ready.status_code == 503
        assert reason in ready.json()["reason"]
        more = {"name": "more", "port": free_port()}
        write(file, *listeners, more, certificates=certificates_by_name, admin={"port": admin})
        reloaded = gateway.reload()
        assert reloaded.returncode == 0, reloaded.stderr
        assert f"note: certificate bad: {bad}: expected a PEM block CERTIFICATE" in reloaded.stderr
        assert httpx.get(f"http://127.0.0.1:{more['port']}/files/x").status_code == 200
        code, shortcomings = shortcomings_of(gateway)
        assert (code, shortcomings[0].partition(" (")[0]) == (3, "the listener lone is closed")
        write(
            file,
            *listeners,
            certificates={**certificates_by_name, "worse": certificates_by_name["bad"]},
            admin={"port": admin},
        )
        reloaded = gateway.reload()
        assert (reloaded.returncode, "error: certificate worse: " in reloaded.stderr) == (1, True)
        write(file, *listeners, more, certificates=certificates_by_name, admin={"port": admin})
        bad.write_text(original)
        eventually("all are open", lambda: is_open(lone) and is_open(both))
        assert shortcomings_of(gateway) == (0, [])
        assert httpx.get(f"http://127.0.0.1:{admin}/ready").status_code == 200
        good.write_text("hello")
        eventually("the status reports it", lambda: shortcomings_of(gateway)[0] == 3)
        assert is_open(both), "by what the file held before"
        killed = gateway.kill("engine")
        eventually("the engine is back", lambda: gateway.pid("engine") not in (None, killed))
        eventually("by the certificate that is left", lambda: is_open(both) and is_open(lone))
        expected = ("restarted", "the files of the certificate good cannot be used")
        eventually(
            "the status reports both", lambda: all(text in " ".join(shortcomings_of(gateway)[1]) for text in expected)
        )


def test_a_gateway_whose_listeners_all_fail_does_not_start(build: Path, tmp_path: Path, ca: Authority) -> None:
    chain, key = ca.issue("gone", "127.0.0.1")
    chain.unlink()
    file = write(tmp_path / "gateway.yaml", https(free_port()), certificates=certificates(chain, key))
    command = ["gatewright", "run", "--gateway", str(file), "--build", str(build), "--controller-port", "0"]
    with tempfile.TemporaryDirectory(prefix="gw-") as run_dir:  # pytest's own paths are too long for sockets
        command += ["--state-dir", str(tmp_path / "state"), "--run-dir", run_dir]
        result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 1
    assert "no listener can be opened: the files of the certificate web cannot be used" in result.stderr
    assert f"{chain}: expected a PEM file, got none" in result.stderr


def test_unusable_files_are_reported_before_the_build(tmp_path: Path, ca: Authority) -> None:
    chain, key = ca.issue("web", "127.0.0.1")
    _, others = ca.issue("other", "127.0.0.1")
    port = free_port()
    certificates_by_name = {
        "mismatched": {"certificateFile": str(chain), "keyFile": str(others)},
        "absent": {"certificateFile": str(tmp_path / "none"), "keyFile": str(key)},
    }
    tls = {"certificates": ["mismatched", "absent"]}
    file = write(
        tmp_path / "gateway.yaml", {"name": "a", "port": port, "protocol": "https", "tls": tls},
        certificates=certificates_by_name,
        authorities={"text": {"file": str(file_with(tmp_path / "text", "hello"))}},
    )  # fmt: skip
    result = subprocess.run(
        ["gatewright", "run", "--strict", "--gateway", str(file), "--build", str(tmp_path / "nothing")],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert result.returncode == 1
    output = " ".join(result.stderr.split())
    for expected in (
        f"certificate mismatched: {others}: expected the key of the first certificate in {chain}, got another one",
        f"certificate absent: {tmp_path / 'none'}: expected a file that can be read, got: No such file or directory",
        f"authority text: {tmp_path / 'text'}: expected a PEM file of the certificates that sign others",
    ):
        assert expected in output


def file_with(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_a_listener_gets_another_address_or_name_on_its_port(node: Node, upstream: Upstream) -> None:
    """No request fails at an address that stays."""
    port, other = node.port, free_port()
    node.gateway.deploy(api("stays", upstream.url))

    def listening(*listeners: Json) -> None:
        node.listen(*listeners)
        for listener in listeners:
            url = f"http://127.0.0.1:{listener['port']}/stays/x"
            eventually(f"{listener} is there", lambda url=url: _status_of(url) == 200)  # type: ignore[misc]

    with traffic(f"http://127.0.0.1:{port}/stays/x", clients=4, pause=0.1) as (flow,):
        listening({"name": "http", "port": port, "address": "0.0.0.0"})  # noqa: S104
        listening({"name": "http", "port": port})
        listening({"name": "renamed", "port": port})
        listening({"name": "renamed", "port": port}, {"name": "second", "port": other})
        # Two that change places are refused by Envoy: they go by way of a third port.
        message = node.refuse({"name": "second", "port": port}, {"name": "renamed", "port": other})
        assert "duplicate address" in message
        eventually("steady", flow.is_steady)
    assert set(flow.counts()) == {200}, flow.problems[:3]
