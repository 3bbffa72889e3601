"""`ready` and `gatewright status`: the APIs that serve, and the reasons of those that do not, which delay no other."""

from __future__ import annotations

import http.client
import http.server
import json
import signal
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import yaml

from e2e.kit.certificates import authority
from e2e.kit.closed_port import SharedPortServer, closed_port
from e2e.kit.gateway import Gateway, Json, api, attach, eventually, running
from e2e.kit.listening import free_port
from e2e.kit.names import Names
from e2e.kit.places import ROOT
from e2e.kit.policy_project import PolicyProject
from e2e.kit.upstream import Reply, Upstream

PLAIN = """\
from sdk.policy import UpstreamRequestModifications

def on_request(ctx, params):
    return UpstreamRequestModifications(set_headers={"x-seen": "yes"})

def on_response(ctx, params):
    return None
"""
KEYS = """\
import urllib.request
from sdk.policy import UpstreamRequestModifications

def prepare(params):
    with urllib.request.urlopen(params["url"], timeout=2) as answer:
        return answer.read().decode()

def on_request(ctx, params):
    return UpstreamRequestModifications(set_headers={"x-keys": ctx.prepared})

def on_response(ctx, params):
    return None
"""
HEALED_SECONDS = 60.0
DEPLOY_LIMIT_SECONDS = 10.0
"""How long a start waits for APIs, at most."""


def write_apis(folder: Path, *apis: Json) -> tuple[str, str]:
    """A file for each; the option that names the folder."""
    folder.mkdir(exist_ok=True)
    for document in apis:
        (folder / f"{document['metadata']['name']}.yaml").write_text(yaml.safe_dump(document))
    return "--apis", str(folder)


def status(gateway: Gateway, *options: str) -> subprocess.CompletedProcess[str]:
    command = ["gatewright", "status", "--run-dir", str(gateway.run_dir), *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def states(gateway: Gateway) -> dict[str, Json]:
    return {entry["name"]: entry for entry in json.loads(status(gateway, "--json").stdout)["apis"]}


def ready_record(gateway: Gateway) -> Json:
    """The supervisor's log record of `ready`, with the duration of each part of the start. It may be a moment late."""
    eventually("ready is logged", lambda: gateway.find_records(message="ready", component="supervisor"))
    (record,) = gateway.find_records(message="ready", component="supervisor")
    return record


def test_no_request_of_ours_reaches_an_upstream_and_one_that_fails_is_no_obstacle(
    build: Path, tmp_path: Path, upstream: Upstream
) -> None:
    upstream.reply = lambda _: Reply(503)
    apis = write_apis(tmp_path / "apis", api("failing", upstream.url, [attach("mark", {"name": "m"})]))
    with running(build, tmp_path / "state", *apis) as gateway:
        assert gateway.printed[0] == f"ready {gateway.url} (1 of 1 APIs serve)"
        assert not gateway.find_records(message="Envoy has not acknowledged all that the engine gave it")
        assert gateway.reload().returncode == 0
        assert status(gateway).returncode == 0
        assert httpx.get(f"{gateway.url}/failing/x").status_code == 503
    assert len(upstream.received) == 1


def test_a_deployed_api_is_served_by_each_of_envoys_workers(build: Path, tmp_path: Path, upstream: Upstream) -> None:
    """On connections that were open before, over all workers, and at the first try."""
    with running(build, tmp_path, "--envoy.concurrency", "8") as gateway:
        connections = [http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=10) for _ in range(48)]
        for number in range(10):
            gateway.deploy(api(f"api-{number}", upstream.url))
            for connection in connections:
                connection.request("GET", f"/api-{number}/x")
            answers = [connection.getresponse() for connection in connections]
            assert [(answer.status, bool(answer.read())) for answer in answers] == [(200, True)] * len(connections)
        workers = gateway.admin("envoy", "/stats?filter=worker_.*.downstream_cx_total").splitlines()
        assert len([line for line in workers if not line.endswith(": 0")]) >= 6, workers
        for connection in connections:
            connection.close()


def test_a_file_may_have_listeners_with_and_without_tls(build: Path, tmp_path: Path, upstream: Upstream) -> None:
    signs = authority(tmp_path)
    chain, key = signs.issue("web", "127.0.0.1")
    https = free_port()
    written = {
        "apiVersion": "gatewright.dev/v1",
        "kind": "Gateway",
        "spec": {
            "listeners": [
                {"name": "http", "port": 80},
                {"name": "https", "port": https, "protocol": "https", "tls": {"certificates": ["web"]}},
            ],
            "certificates": {"web": {"certificateFile": str(chain), "keyFile": str(key)}},
        },
    }
    (tmp_path / "gateway.yaml").write_text(yaml.safe_dump(written))
    apis = write_apis(tmp_path / "apis", api("secret", upstream.url))
    with running(build, tmp_path / "state", *apis, "--gateway", str(tmp_path / "gateway.yaml")) as gateway:
        trusted = ssl.create_default_context(cafile=str(signs.file))
        assert httpx.get(f"https://127.0.0.1:{https}/secret/x", verify=trusted).status_code == 200
        assert httpx.get(f"{gateway.url}/secret/x").status_code == 200, "expected --port to be the first listener's"
        gateway.wait_printed(f"also https://127.0.0.1:{https} (listener https)")
        listeners = json.loads(status(gateway, "--json").stdout)["listeners"]
        assert [listener["url"] for listener in listeners] == [gateway.url, f"https://127.0.0.1:{https}"]


@pytest.fixture
def one_of_each(tmp_path: Path, upstream: Upstream) -> Path:
    """A folder with an API that serves, one that the controller refuses, and a file that is no YAML."""
    unknown = api("unknown", upstream.url, [attach("no-such-policy")])
    write_apis(tmp_path / "apis", api("good", upstream.url), unknown)
    (tmp_path / "apis" / "wrong.yaml").write_text("apiVersion: gatewright.dev/v1\nkind: [\n")
    return tmp_path / "apis"


def test_a_wrong_file_stops_no_other_api(build: Path, tmp_path: Path, upstream: Upstream, one_of_each: Path) -> None:
    with running(build, tmp_path / "state", "--apis", str(one_of_each)) as gateway:
        assert httpx.get(f"{gateway.url}/good/x").status_code == 200
        assert gateway.printed[0] == f"ready {gateway.url} (1 of 3 APIs serve)"
        for line in (
            f"  rejected {one_of_each}/wrong.yaml:3: expected a YAML document: ",
            f"  rejected {one_of_each}/unknown.yaml:",
            "spec.policies[0].name: expected a policy of this build, got 'no-such-policy'",
        ):
            gateway.wait_printed(line)
        refused = "API file refused; it is tried again when it is saved"
        eventually("the log has both", lambda: len(gateway.find_records(message=refused)) == 2)
        result = status(gateway)
        assert result.returncode == 3
        assert result.stdout.startswith("degraded: 2 API files refused\n")
        assert f"{one_of_each}/wrong.yaml:3: expected a YAML document: " in result.stdout
        assert status(gateway, "--healthcheck").returncode == 0
        write_apis(one_of_each, api("wrong", upstream.url), api("unknown", upstream.url))
        eventually("the corrected policy serves", lambda: status(gateway).returncode == 0, 20)
        assert {httpx.get(f"{gateway.url}/{name}/x").status_code for name in ("good", "wrong", "unknown")} == {200}


def test_a_strict_start_fails_with_all_reasons(build: Path, tmp_path: Path, one_of_each: Path) -> None:
    command = ["gatewright", "run", "--build", str(build), "--port", "0", "--controller-port", "0", "--strict"]
    command += ["--state-dir", str(tmp_path / "state"), "--apis", str(one_of_each)]
    refused = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith(f"error: {one_of_each}/wrong.yaml:3: expected a YAML document: ")
    (one_of_each / "wrong.yaml").unlink()
    refused = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert f"error: not deployed:\n  rejected: {one_of_each}/unknown.yaml:" in refused.stderr


def test_the_health_check_fails_as_soon_as_a_stop_begins(build: Path, tmp_path: Path, upstream: Upstream) -> None:
    loading, let_go = threading.Event(), threading.Event()
    answers: list[int] = []

    def wait(_: object) -> Reply:
        loading.set()
        let_go.wait(30)
        return Reply(200)

    upstream.reply = wait
    with running(build, tmp_path, "--drain-seconds", "20") as gateway:
        gateway.deploy(api("slow", upstream.url))
        assert status(gateway, "--healthcheck").returncode == 0
        url = f"{gateway.url}/slow/x"
        client = threading.Thread(target=lambda: answers.append(httpx.get(url, timeout=30).status_code))
        client.start()
        assert loading.wait(10)
        gateway.process.send_signal(signal.SIGTERM)
        eventually(
            "the stop has begun", lambda: gateway.find_records(message="stopping (send the signal again to force it)")
        )
        exit_codes = [status(gateway, "--healthcheck").returncode, status(gateway).returncode]
        let_go.set()
        client.join()
        assert exit_codes == [1, 1]
    assert answers == [200]


def test_the_echo_is_where_the_api_says(tmp_path: Path) -> None:
    port = free_port()
    subprocess.run(["gatewright", "init", str(tmp_path)], check=True)
    hello = tmp_path / "apis" / "hello.yaml"
    hello.write_text(hello.read_text().replace(":9091", f":{port}"))
    output = ROOT / "build" / "e2e-starter"
    arguments = ("--manifest", str(tmp_path / "build.yaml"), "--output", str(output), "--echo-port", str(port))
    with running(None, tmp_path / "state", *arguments) as gateway:
        assert httpx.get(f"{gateway.url}/hello/").status_code == 200
        assert gateway.status()["echo"] == f"http://127.0.0.1:{port}"


class Keys(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"key")

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def identity_provider(port: int) -> Iterator[None]:
    with SharedPortServer(("127.0.0.1", port), Keys) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


def is_deployed(gateway: Gateway, name: str) -> bool:
    return name in (apis_by_name := states(gateway)) and apis_by_name[name]["state"] == "deployed"


@pytest.fixture
def closed_ports() -> Iterator[tuple[int, int]]:
    with closed_port() as first_port, closed_port() as second_port:
        yield first_port, second_port


@pytest.mark.timeout(400)
@pytest.mark.slow("twenty APIs, and what four of them need is waited for")
def test_of_twenty_apis_sixteen_serve_while_four_wait(
    tmp_path: Path, upstream: Upstream, closed_ports: tuple[int, int]
) -> None:
    project = PolicyProject(tmp_path, "e2e-ready")
    for name, source in (("plain", PLAIN), ("keys", KEYS), ("fading", PLAIN)):
        project.write_policy(name, source)
    state, ports = tmp_path / "state", dict(zip(("dead", "keys"), closed_ports, strict=True))
    with running(None, state, *project.arguments) as gateway:
        gateway.deploy(api("fading", upstream.url, [attach("fading")]))
    project.remove_policy("fading")
    project.write_policy("fading", PLAIN, version="v2.0.0")
    good = [f"good-{number}" for number in range(15)]
    apis = write_apis(
        tmp_path / "apis",
        *(api(name, upstream.url, [attach("plain")]) for name in good),
        api("dead", f"http://127.0.0.1:{ports['dead']}", [attach("plain")]),
        api("unresolved", f"http://orders.test:{upstream.port}", [attach("plain")]),
        api("keys", upstream.url, [attach("keys", {"url": f"http://127.0.0.1:{ports['keys']}/jwks"})]),
    )
    (tmp_path / "apis" / "wrong.yaml").write_text("kind: [\n")
    names = Names(tmp_path)
    with running(None, state, *project.arguments, *apis, within=names.within) as gateway:
        names_of_all = (*good, "dead", "unresolved", "keys", "fading")
        answers = {name: httpx.get(f"{gateway.url}/{name}/x") for name in names_of_all}
        assert {answers[name].status_code for name in good} == {200}
        ready = ready_record(gateway)
        assert (ready["serving"], ready["apis"]) == (16, 20)
        assert float(ready["deploy"].rstrip("s")) < DEPLOY_LIMIT_SECONDS, "expected no wait for the others"
        _assert_reasons(gateway, answers)
        _assert_recovery(gateway, upstream, project, tmp_path / "apis", ports, names)


def _assert_reasons(gateway: Gateway, answers: dict[str, httpx.Response]) -> None:
    for name in ("dead", "unresolved", "keys", "fading"):
        assert answers[name].status_code == 503, name
        assert answers[name].headers["content-type"] == "application/problem+json", name
        assert answers[name].json()["requestId"], name
    for name in ("keys", "fading"):
        assert int(answers[name].headers["retry-after"]) > 0, name
    apis_by_name, result = states(gateway), status(gateway)
    assert result.returncode == 3
    assert apis_by_name["dead"]["state"] == "deployed"
    assert "connections to its upstream 127.0.0.1" in apis_by_name["dead"]["note"]
    assert "resolve" in apis_by_name["unresolved"]["reason"] + apis_by_name["unresolved"].get("note", "")
    assert apis_by_name["keys"]["state"] == "pending"
    assert "refused" in apis_by_name["keys"]["reason"].lower()
    assert apis_by_name["fading"]["state"] == "rejected"
    assert "fading" in apis_by_name["fading"]["reason"]
    assert "wrong.yaml:2: expected a YAML document" in result.stdout
    not_deployed = {r["api"] for r in gateway.find_records(message="API is not deployed", component="supervisor")}
    assert {"keys", "fading"} <= not_deployed <= {"keys", "fading", "unresolved"}


def _assert_recovery(
    gateway: Gateway, upstream: Upstream, project: PolicyProject, folder: Path, ports: dict[str, int], names: Names
) -> None:
    """By itself, when its cause goes away: nothing is deployed again."""
    names.resolve_to_loopback("orders.test")
    project.write_policy("fading", PLAIN)
    assert gateway.reload().returncode == 0
    write_apis(folder, api("wrong", upstream.url))
    dead = SharedPortServer(("127.0.0.1", ports["dead"]), Keys)
    with identity_provider(ports["keys"]), dead:
        serving = threading.Thread(target=dead.serve_forever)
        serving.start()
        for name in ("dead", "unresolved", "keys", "fading", "wrong"):
            url = f"{gateway.url}/{name}/x"
            eventually(f"{name} serves", lambda url=url: httpx.get(url).status_code == 200, HEALED_SECONDS)  # type: ignore[misc]
        eventually("all are deployed", lambda: status(gateway).returncode == 0)
        eventually("the log names them", lambda: {"keys", "fading"} <= _logged_as_deployed(gateway))
        dead.shutdown()
        serving.join()
    assert {request.value("x-keys") for request in upstream.received} >= {"key"}


def _logged_as_deployed(gateway: Gateway) -> set[str]:
    return {record["api"] for record in gateway.find_records(message="API deployed", component="supervisor")}
