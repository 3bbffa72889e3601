"""decK files of three shapes, imported by the command, served by one gateway, and asked as Kong's clients ask."""

from __future__ import annotations

import base64
import json
import os
import shutil
import stat
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import yaml
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from e2e.kit.gateway import BUILD_SECONDS, Gateway, Json, eventually, running
from e2e.kit.places import ROOT
from e2e.kit.upstream import Recorded, Reply, Upstream

FILES = ROOT / "cli" / "tests" / "kong" / "testdata"
SHAPES = ("routes", "upstreams", "consumers")
APIS = 18
BOB = "bob-5d3f1e9c7b0a2c4e6f8d"
ADA = "ada-7f3e0a5c9d1b4e6f8a2c"
EVE = "eve-1c9b7d5f3e0a8c6b4d2e"
MILL = 0x6383ED64939C0F0D786C093238B71A44C00B0EA691C9B1B492401D8A2369D49A
"""The private key of mill.example, whose public key is in consumers.yaml."""


@dataclass(frozen=True)
class Kong:
    """A gateway with all three files. upstreams: the two servers behind it. reports: by the files' names.

    outputs: of all commands. place: the folder of all files.
    """

    gateway: Gateway
    upstreams: tuple[Upstream, Upstream]
    reports: dict[str, Json]
    outputs: list[str]
    place: Path

    def command(self, *words: str) -> str:
        """What a command that talks to the gateway's controller prints."""
        run_dir = ["--run-dir", str(self.gateway.run_dir)]
        done = subprocess.run(["gatewright", *words, *run_dir], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        self.outputs.extend([done.stdout, done.stderr])
        return done.stdout

    def get(self, path: str, method: str = "GET", host: str = "", **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()} | ({"host": host} if host else {})
        return httpx.request(method, f"{self.gateway.url}{path}", headers=named, timeout=60)

    def asked(self) -> Recorded:
        """The last request that reached an upstream."""
        received = self.received()
        for upstream in self.upstreams:
            upstream.received.clear()
        (request,) = received
        return request

    def received(self) -> list[Recorded]:
        """All that reached the upstreams, without the health checks, which Envoy sends when it wants to."""
        return [request for upstream in self.upstreams for request in upstream.received if request.target != "/health"]


def run_import(file: Path, folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = ["gatewright", "import", str(file), "-o", str(folder), "--report", str(folder / "report.json"), *more]
    environment = {**os.environ, "DECK_BOB_KEY": BOB}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=BUILD_SECONDS)


@pytest.fixture(scope="module")
def kong(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kong]:
    place = tmp_path_factory.mktemp("kong")
    with Upstream() as first, Upstream() as second:
        hosts = {
            "http://catalogue.internal:8080": first.url, "host: front.internal": "host: 127.0.0.1",
            "port: 3000": f"port: {second.port}", "http://reports.internal:8080": first.url,
            "orders-a.internal:8080": f"127.0.0.1:{first.port}", "orders-b.internal:8080": f"127.0.0.1:{second.port}",
            "10.0.0.1:8080": f"127.0.0.1:{first.port}", "10.0.0.2:8080": f"127.0.0.1:{second.port}",
            "https://payments.internal": "https://127.0.0.1:9",
        }  # fmt: skip
        project, policies, reports, outputs = place / "project", set[str](), {}, list[str]()
        for shape in SHAPES:
            text = (FILES / f"{shape}.yaml").read_text()
            for name, instead in hosts.items():
                text = text.replace(name, instead)
            (place / f"{shape}.yaml").write_text(text)
            folder = place / shape
            result = run_import(place / f"{shape}.yaml", folder)
            assert result.returncode == 3, result.stderr
            outputs += [result.stdout, result.stderr]
            reports[shape] = json.loads((folder / "report.json").read_text())
            policies |= {entry["name"] for entry in yaml.safe_load((folder / "build.yaml").read_text())["policies"]}
            for part in ("apis", "secrets"):
                if (folder / part).exists():
                    shutil.copytree(folder / part, project / part, dirs_exist_ok=True)
        manifest = {"version": "v1", "policies": [{"name": name} for name in sorted(policies)]}
        (project / "build.yaml").write_text(yaml.safe_dump(manifest))
        output = ROOT / "build" / "imported-from-kong"
        command = ["gatewright", "build", "--manifest", str(project / "build.yaml"), "--output", str(output)]
        subprocess.run(command, check=True, timeout=BUILD_SECONDS)
        options = ("--apis", str(project / "apis"), "--secrets", str(project / "secrets"))
        with running(output, place / "state", *options) as gateway:
            with gateway.controller() as client:
                eventually("all APIs are deployed", lambda: are_deployed(client), 120)
            kong = Kong(gateway, (first, second), reports, outputs, place)
            kong.command("apply", "-f", str(place / "consumers" / "consumers.yaml"))
            keys = place / "consumers" / "consumer-keys.jsonl"
            assert stat.S_IMODE(keys.stat().st_mode) == 0o600
            assert kong.command("consumer", "key", "import", str(keys)) == "3 keys imported\n"
            keys.unlink()
            eventually("the keys are live", lambda: kong.get("/status/1", x_api_key=BOB).status_code == 200, 20)
            yield kong


def are_deployed(client: httpx.Client) -> bool:
    apis = client.get("/v1/apis", params={"wait": "5"}).json()["apis"]
    return len(apis) == APIS and all(api["status"]["state"] == "deployed" for api in apis)


@pytest.fixture(autouse=True)
def _forget(kong: Kong) -> None:
    for upstream in kong.upstreams:
        upstream.reset()


def test_routes_are_found_as_kong_finds_them(kong: Kong) -> None:
    """By hosts, paths, methods and headers, with strip_path, preserve_host and what a route falls through to."""
    assert kong.get("/items/7").status_code == 200
    assert kong.asked().target == "/api/7"
    assert kong.get("/items/7", "PUT").status_code == 200
    assert kong.asked().target == "/api/items/7"
    assert kong.get("/items/7/8", "PUT").status_code == 405
    answer = kong.get("/items/7", host="shop.example", x_version="BETA", x_debug="1")
    assert answer.status_code == 200
    request = kong.asked()
    assert (request.target, request.value("x-channel"), request.value("x-debug")) == ("/api/7?v=2", "beta", None)
    assert kong.get("/items/7?v=1", host="shop.example", x_version="2", x_channel="own").status_code == 200
    request = kong.asked()
    assert (request.target, request.value("x-channel")) == ("/api/7?v=1", "own")
    assert kong.get("/items/7", "POST", host="shop.example").status_code == 200
    request = kong.asked()
    assert (request.target, request.value("host")) == ("/items/7", "shop.example")
    assert kong.get("/about", host="blog.example").status_code == 200
    assert kong.asked().target == "/about"
    assert kong.get("/about").status_code == 404


def test_plugins_are_policies(kong: Kong) -> None:
    answer = kong.get("/old/x")
    assert (answer.status_code, answer.json()) == (410, {"message": "gone"})
    assert kong.get("/old/x", host="shop.example").status_code == 200, "Kong tries the route with a host first"
    kong.asked()
    answer = kong.get("/items/7", x_correlation_id="mine-and-mine-alone", origin="https://app.example")
    assert answer.headers["x-correlation-id"] == "mine-and-mine-alone"
    assert answer.headers["access-control-allow-origin"] == "https://app.example"
    assert kong.asked().value("x-correlation-id") == "mine-and-mine-alone"
    preflight = kong.get("/items/7", "OPTIONS", origin="https://app.example", access_control_request_method="PUT")
    assert preflight.headers["access-control-allow-methods"] == "PUT"
    other = kong.get("/items/7", origin="https://other.example")
    assert "access-control-allow-origin" not in other.headers
    kong.asked()


def test_a_route_whose_plugin_has_no_counterpart_is_closed(kong: Kong) -> None:
    """The listener is in clear, so the first refusal is that of `protocols: [https]`."""
    answer = kong.get("/partners/x")
    assert (answer.status_code, answer.json()) == (426, {"message": "Please use HTTPS protocol"})
    assert not kong.received()
    (entry,) = entries(kong.reports["routes"], "ldap-auth")
    assert entry["outcome"] == "leftOut"
    assert entry["reason"].endswith("its routes are closed: they answer 501")


def test_pools_have_weights_checks_and_hosts(kong: Kong) -> None:
    """Weights of 300 and 100; a header goes to the same target each time; one that fails its check is left out."""
    first, second = kong.upstreams
    for _ in range(40):
        assert kong.get("/orders/7").status_code == 200
    served = [[request for request in upstream.received if request.target == "/v1/7"] for upstream in kong.upstreams]
    assert [len(requests) > 0 for requests in served] == [True, True]
    assert len(served[0]) > len(served[1])
    assert {request.value("host") for requests in served for request in requests} == {"orders.internal"}
    first.reset()
    second.reset()
    for _ in range(10):
        assert kong.get("/carts/7", x_user="ada").status_code == 200
    assert sorted(len(upstream.to("/carts/7")) for upstream in kong.upstreams) == [0, 10]
    first.reply = lambda request: Reply(503 if request.target == "/health" else 200)
    first.received.clear()
    eventually("the first target is left out", lambda: only_second(kong), 60)


def only_second(kong: Kong) -> bool:
    """Whether ten requests in a row reach the second target alone."""
    kong.upstreams[0].received.clear()
    assert all(kong.get("/orders/8").status_code == 200 for _ in range(10))
    return kong.upstreams[0].to("/v1/8") == []


def test_consumers_have_their_keys_groups_and_limits(kong: Kong) -> None:
    assert kong.get("/status/1").status_code == 401
    assert kong.get("/status/1", x_api_key="nobody-has-this-key-at-all").status_code == 401
    assert kong.get("/status/1", x_api_key=BOB).status_code == 200
    request = kong.asked()
    assert (request.target, request.value("x-consumer-username"), request.value("x-api-key")) == ("/1", "bob", None)
    assert kong.get("/reports/1", x_api_key=EVE).status_code == 403, "she is not of staff"
    for key, limit in ((BOB, 2), (ADA, 4)):  # ada is of the group gold
        answers = [kong.get("/reports/1", x_api_key=key) for _ in range(limit + 1)]
        assert answers[-1].status_code == 429
        assert {answer.headers["ratelimit-policy"] for answer in answers} == {f'"minute";q={limit};w=60'}


def signed(key: ec.EllipticCurvePrivateKey, **claims: object) -> str:
    """A JWT by ES256."""
    parts = ({"alg": "ES256", "typ": "JWT"}, {"exp": int(time.time()) + 60, **claims})
    text = b".".join(encoded(json.dumps(part).encode()) for part in parts)
    numbers = decode_dss_signature(key.sign(text, ec.ECDSA(hashes.SHA256())))
    return b".".join([text, encoded(b"".join(number.to_bytes(32, "big") for number in numbers))]).decode()


def encoded(content: bytes) -> bytes:
    return base64.urlsafe_b64encode(content).rstrip(b"=")


def test_an_issuer_of_tokens_is_a_consumer_with_its_plan(kong: Kong) -> None:
    """Whatever its tokens say of a subject, as in Kong."""
    mill, other = ec.derive_private_key(MILL, ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    answers = [
        kong.get("/lab/1", authorization=f"Bearer {signed(key, **claims)}")
        for key, claims in (
            (mill, {"iss": "mill-issuer"}),
            (mill, {"iss": "mill-issuer", "sub": "ada"}),
            (other, {"iss": "mill-issuer"}),
            (mill, {"iss": "another-issuer"}),
        )
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 401, 401]
    received = [request for upstream in kong.upstreams for request in upstream.to("/1")]
    assert {request.value("x-consumer-username") for request in received} == {"mill-example"}
    assert answers[0].headers["ratelimit-policy"] == '"minute";q=4;w=60'


def test_no_key_of_a_consumer_is_anywhere(kong: Kong) -> None:
    """Neither in what commands print, nor in logs, the audit log, resources, and files of the node."""
    for words in (("audit", "-o", "jsonl"), ("get", "consumers", "-o", "yaml"), ("history", "consumer/ada")):
        kong.command(*words)
    assert "kong-1" in kong.command("consumer", "key", "list", "ada", "-o", "wide")
    files = [
        path.read_bytes() for part in ("state", "project") for path in (kong.place / part).rglob("*") if path.is_file()
    ]
    texts = [*kong.outputs, *kong.gateway.log, *kong.gateway.printed, json.dumps(kong.reports)]
    assert len(files) > 20
    for key in (BOB, ADA, EVE):
        assert [text for text in texts if key in text] == []
        assert [content for content in files if key.encode() in content] == []


def test_passwords_are_kept_as_hashes(kong: Kong) -> None:
    url = f"{kong.gateway.url}/admin/1"
    assert httpx.get(url, timeout=60).status_code == 401
    assert httpx.get(url, auth=("ada", "wrong"), timeout=60).status_code == 401
    assert httpx.get(url, auth=("ada", "correct-horse-battery"), timeout=60).status_code == 200
    assert kong.asked().value("x-consumer-username") == "ada"


def test_reports_count_what_they_list(kong: Kong) -> None:
    for shape, report in kong.reports.items():
        outcomes = [entry["outcome"] for entry in report["entries"]]
        assert report["counts"] == {name: outcomes.count(name) for name in ("carried", "changed", "leftOut")}, shape
        assert all(entry["line"] > 0 and entry["entity"] and entry["field"] for entry in report["entries"])
        assert all(entry.get("reason") for entry in report["entries"] if entry["outcome"] != "carried")
    (entry,) = entries(kong.reports["upstreams"], "healthchecks.active.http_path")
    assert (entry["line"], entry["entity"], entry["outcome"]) == (31, "upstream orders.pool", "carried")


def entries(report: Json, text: str) -> list[Json]:
    return [entry for entry in report["entries"] if text in entry["entity"] or entry["field"].endswith(text)]


def test_the_command_refuses_what_it_cannot_do(tmp_path: Path) -> None:
    file, folder = FILES / "consumers.yaml", tmp_path / "out"
    assert run_import(file, folder, "--accept").returncode == 0
    secrets = folder / "secrets"
    assert {stat.S_IMODE(path.stat().st_mode) for path in secrets.iterdir()} == {0o600}
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o700
    again = run_import(file, folder)
    assert again.returncode == 1
    assert "already there: choose another folder, or replace them with --force" in again.stderr
    assert run_import(file, folder, "--force").returncode == 3
    named = run_import(file, folder, "--force", "--name", "x")
    expected = "expected an OpenAPI document with --name, got another: leave the option out"
    assert (named.returncode, named.stderr) == (1, f"error: {file}: {expected}\n")
    environment = {**os.environ, "DECK_BOB_KEY": BOB}
    command = ["gatewright", "import", str(file)]
    printed = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=BUILD_SECONDS
    )
    assert (printed.returncode, printed.stdout) == (1, "")
    assert "name one with -o FOLDER" in printed.stderr
    other = tmp_path / "other.yaml"
    other.write_text("kind: Api\n")
    refused = run_import(other, folder)
    assert refused.returncode == 1
    assert "expected a decK file with --report, got another" in refused.stderr
