"""Secrets of clients, publishers and operators appear in no output of a node: at level debug, in the access log, in
exports, in the answers of its sockets, in the files of its run."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from e2e.kit.collector import Collector, collector
from e2e.kit.gateway import Gateway, Json, api, attach, eventually, running
from e2e.kit.upstream import Upstream

pytestmark = pytest.mark.timeout(180)
PLANTED = {
    name: f"planted{number}Zq8Rt5Wx2"
    for number, name in enumerate(
        ["bearer", "cookie", "partner", "query", "parameter", "userinfo", "collector-token", "encoded", "referer"]
    )
}
REDACTED = "[redacted]"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJwbGFudGVkIn0.c2lnbmF0dXJl"
HEADERS = {
    "authorization": f"Bearer {PLANTED['bearer']}",
    "cookie": f"session={PLANTED['cookie']}; theme=dark",
    "x-partner-key": PLANTED["partner"],
    "referer": f"https://shop.test/?token={PLANTED['referer']}",
}
ASKED = (
    f"/x?token={PLANTED['query']}&page=2&%74oken={PLANTED['encoded']}",
    f"/y?page=3&user[token]={PLANTED['query']};api-key={PLANTED['query']}",
    f"/z?page=4&next={JWT}",
)
FIELDS = {
    "path": "path", "analytics": "analytics", "model": "analytics.model", "details": "details", "from":
    "requestHeader:Referer", "status": "status",
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The collector's files and the gateway's, its access log among them."""
    return tmp_path_factory.mktemp("planted")


@pytest.fixture(scope="module")
def received(folder: Path) -> Iterator[Collector]:
    with collector(folder) as running_collector:
        yield running_collector


@pytest.fixture(scope="module")
def node(build: Path, folder: Path, received: Collector) -> Iterator[Gateway]:
    spec: Json = {
        "redaction": {"headers": ["X-Partner-*"]},
        "accessLog": {
            "fields": FIELDS,
            "destinations": [{}, {"to": "file", "path": str(folder / "access.log")},
                             {"to": "otlp", "collector": f"127.0.0.1:{received.grpc}"}],
        },
        "logs": {"collector": f"127.0.0.1:{received.grpc}", "headers": {"token": PLANTED["collector-token"]}},
    }  # fmt: skip
    file = folder / "gateway.yaml"
    file.write_text(yaml.safe_dump({"apiVersion": "gatewright.dev/v1", "kind": "Gateway", "spec": spec}))
    more = ("--gateway", str(file), "--log-level", "debug", "--envoy.log-level", "debug")
    with running(build, folder / "state", *more) as gateway:
        yield gateway


def test_planted_secrets_appear_in_no_output(
    node: Gateway, received: Collector, upstream: Upstream, folder: Path
) -> None:
    leaks = [attach("leak", {"password": PLANTED["parameter"]})]
    raises = [attach("leak", {"password": PLANTED["parameter"], "raises": True})]
    node.deploy(api("leaks", upstream.url, leaks))
    node.deploy(api("raises", upstream.url, raises))
    node.deploy(api("plain", upstream.url))
    refused = api("refused", upstream.url.replace("http://", f"http://ann:{PLANTED['userinfo']}@"))
    with node.controller() as management:
        answer = management.post("/v1/apis", json=refused)
        assert answer.status_code == 422
        texts = [answer.text, management.get("/v1/apis").text, management.get("/v1/gateway").text]
    for name, status in (("leaks", 200), ("raises", 500), ("plain", 200), ("nowhere", 404)):
        for path in ASKED:
            assert httpx.get(f"{node.url}/{name}{path}", headers=HEADERS).status_code == status
    eventually("all lines come", lambda: len(lines_of(node, "leaks", "raises", "plain", "nowhere")) == 12)
    eventually("they are exported", lambda: received.text().count("/raises/z?") >= 2, 30)
    eventually("they are in the file", lambda: "/nowhere/z" in (folder / "access.log").read_text())

    texts += [node.admin("engine", f"/{page}") for page in ("stats", "chains", "clusters", "executors", "logs")]
    with node.controller() as management:
        nodes = management.get("/v1/nodes")
        address = f"/v1/nodes/{nodes.json()['nodes'][0]['id']}"
        documents = [management.get(f"{address}/{page}") for page in ("metrics", "stats", "chains", "clusters")]
    assert [(page.status_code, "leaks" in page.text) for page in documents] == [(200, True)] * 4
    texts += [page.text for page in (nodes, *documents)]
    texts += [run_command(node, command) for command in ("status", "log-level")]
    texts += [path.read_text(errors="replace") for path in node.run_dir.iterdir() if is_public(path)]
    texts += ["\n".join(node.log), "\n".join(node.printed), (folder / "access.log").read_text(), received.text()]
    for name, secret in [*PLANTED.items(), ("jwt", JWT)]:
        found_secrets = [text[max(0, text.find(secret) - 300) :][:400] for text in texts if secret in text]
        assert found_secrets == [], name
    assert len(node.find_records(component="envoy", level="debug")) > 10, "expected Envoy to have logged headers"


def run_command(node: Gateway, command: str) -> str:
    words = ["gatewright", command, "--run-dir", str(node.run_dir), "--json"]
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout


CONFIDED = ("management-token", "system-parameters.yaml", "inspector.html", "gateway.json", "gateway.binpb")


def is_public(path: Path) -> bool:
    """All files but those with secrets of the operator's: the Gateway's file has headers for a collector."""
    return path.is_file() and path.name not in CONFIDED


def lines_of(node: Gateway, *names: str) -> list[Json]:
    """The access log's lines of requests whose path begins with one of the names."""
    lines = node.find_records(component="access")
    return [line for line in lines if str(line.get("path", "")).startswith(tuple(f"/{name}/" for name in names))]


OPEN_NAMES = "leaks-more", "plain-more", "nothing"


def test_values_that_are_no_secrets_still_appear(node: Gateway, upstream: Upstream) -> None:
    node.deploy(api("leaks-more", upstream.url, [attach("leak", {"password": PLANTED["parameter"]})]))
    node.deploy(api("plain-more", upstream.url))
    for name in ("leaks-more", "plain-more"):
        httpx.get(f"{node.url}/{name}{ASKED[0]}", headers=HEADERS)
        httpx.get(f"{node.url}/{name}/q?page=2&tokens=7")
    httpx.get(f"{node.url}/nothing{ASKED[0]}")
    eventually("all lines come", lambda: len(lines_of(node, *OPEN_NAMES)) == 5)
    leaks, open_leaks, plain, open_plain, nowhere = lines_of(node, *OPEN_NAMES)
    assert leaks["path"] == "/leaks-more/x?token=[redacted]&page=2&%74oken=[redacted]"
    assert plain["path"] == "/plain-more/x?token=[redacted]&page=2&%74oken=[redacted]"
    assert nowhere["path"] == "/nothing/x", "expected no query: no filter runs without a route"
    assert open_leaks["path"] == "/leaks-more/q?page=2&tokens=7"
    assert open_plain["path"] == "/plain-more/q?page=2&tokens=7"
    assert leaks["analytics"]["access_token"] == REDACTED
    assert (leaks["analytics"]["model"], leaks["model"], leaks["from"]) == ("small", "small", "https://shop.test/")
    assert "page=2" in leaks["analytics"]["asked"]
