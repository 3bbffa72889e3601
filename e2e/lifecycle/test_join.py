"""A node of another machine: it joins a controller over the network, and serves on without it."""

from __future__ import annotations

import contextlib
import json
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from e2e.kit.certificates import Authority, authority
from e2e.kit.commands import command
from e2e.kit.gateway import Gateway, Json, api, attach, credentials, eventually, running
from e2e.kit.listening import free_port
from e2e.kit.places import ROOT
from e2e.kit.traffic import traffic
from e2e.kit.upstream import Upstream

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def signer(tmp_path: Path) -> Authority:
    return authority(tmp_path)


@pytest.fixture
def port() -> int:
    """Where nodes join."""
    return free_port()


@pytest.fixture
def first(build: Path, tmp_path: Path, upstream: Upstream, signer: Authority, port: int) -> Iterator[Gateway]:
    """A node whose controller nodes of other machines may join, at this port, and with an API."""
    certificate, key = signer.issue("controller", "127.0.0.1")
    file = tmp_path / "shared.json"
    file.write_text(json.dumps(api("shared", upstream.url, [attach("mark", {"name": "one"})])))
    tls = "--controller-tls-certificate", str(certificate), "--controller-tls-key", str(key)
    nodes = "--nodes-listen", f"127.0.0.1:{port}", "--node-id", "first", "--apis", str(file)
    with running(build, tmp_path / "first", *tls, *nodes) as gateway:
        yield gateway


def ask_controller(gateway: Gateway, signer: Authority, method: str, path: str, **values: object) -> httpx.Response:
    """The answer of the first node's controller."""
    url = f"https://{gateway.process_status('controller')['listen']}{path}"
    trust = ssl.create_default_context(cafile=signer.file)
    return httpx.request(method, url, verify=trust, headers=credentials(gateway.run_dir), **values)  # type: ignore[arg-type]


def join_options(
    first: Gateway, signer: Authority, port: int, role: str, node: str = "second", **labels: str
) -> list[str]:
    """Those of another node, which has a new token with this role, for nodes with these labels."""
    wanted = {"name": node, "role": role, "labels": labels}
    created = ask_controller(first, signer, "POST", "/v1/tokens", json=wanted)
    token = signer.folder / f"token-{node}"
    token.write_text(created.json()["token"])
    files = "--join-authority", str(signer.file), "--join-token-file", str(token)
    return ["--join", f"127.0.0.1:{port}", *files, "--node-id", node]


def command_output(gateway: Gateway, *words: str) -> str:
    """What the command prints."""
    return subprocess.run(command(gateway, *words), capture_output=True, text=True, check=True, timeout=90).stdout


def test_a_node_joins_with_a_token_and_serves_on_without_the_controller(
    build: Path, tmp_path: Path, first: Gateway, signer: Authority, port: int
) -> None:
    join = join_options(first, signer, port, "node")
    with running(build, tmp_path / "second", *join) as second:
        eventually("the second node serves the API", lambda: httpx.get(f"{second.url}/shared/x").status_code == 200)
        nodes = ask_controller(first, signer, "GET", "/v1/nodes").json()["nodes"]
        assert [node["id"] for node in nodes] == ["first", "second"]
        (shared,) = ask_controller(first, signer, "GET", "/v1/apis?wait=30").json()["apis"]
        states = {node["node"]: node["state"] for node in shared["status"]["nodes"]}
        assert states == {"first": "deployed", "second": "deployed"}
    first.stop()
    with running(build, tmp_path / "second", *join) as again:
        assert httpx.get(f"{again.url}/shared/x").status_code == 200, "from its last good state"


def test_a_node_that_is_refused_says_why(
    build: Path, tmp_path: Path, first: Gateway, signer: Authority, port: int
) -> None:
    join = join_options(first, signer, port, "viewer")
    with running(build, tmp_path / "second", *join) as second:
        why = "expected a token with the role node, for second; got one with another role, or for other nodes"
        eventually("the node says why", lambda: second.find_records(error=why))
        (line,) = first.find_records(message="node refused")
        assert (line["node"], line["reason"]) == ("second", why), "said once"
        refused = f"the controller and this node do not accept each other ({why})"
        status = subprocess.run(command(second, "status", "--json"), capture_output=True, check=False, timeout=60)
        assert (status.returncode, json.loads(status.stdout)["shortcomings"]) == (3, [refused])
        last = command_output(first, "node", "list").splitlines()[-1]
        assert (last.split()[0], last.endswith(why)) == ("second", True), last


def test_a_joined_node_listens_as_the_controller_says_for_its_labels(
    build: Path, tmp_path: Path, first: Gateway, signer: Authority, port: int
) -> None:
    """Also after a start without the controller; one that does not ask for it listens by its own options."""
    at = free_port()
    document = {
        "apiVersion": "gatewright.dev/v1",
        "kind": "NodeGateway",
        "metadata": {"name": "dmz"},
        "spec": {"nodes": {"zone": "dmz"}, "listeners": [{"name": "outer", "port": at}]},
    }
    assert ask_controller(first, signer, "PUT", "/v1/nodegateways/dmz", json=document).status_code == 201
    labelled = [*join_options(first, signer, port, "node"), "--node-label", "zone=dmz"]

    def answers(url: str) -> int:
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(f"{url}/shared/x").status_code
        return 0

    def status() -> Json:
        found: Json = ask_controller(first, signer, "GET", "/v1/nodegateways/dmz").json()["status"]
        return found

    outer = f"http://127.0.0.1:{at}"
    with running(build, tmp_path / "own", *labelled) as own:
        eventually("it serves by its own options", lambda: answers(own.url) == 200)
        assert (status()["unplaced"], answers(outer)) == (True, 0)
    with running(build, tmp_path / "second", *labelled, "--join-gateway") as second:
        eventually("it serves as the NodeGateway says", lambda: answers(outer) == 200)
        eventually("and nowhere else", lambda: answers(second.url) == 0)
        eventually("it has said so", lambda: status()["state"] == "deployed")
        assert [node["node"] for node in status()["nodes"]] == ["second"]
        assert answers(first.url) == 200
    first.stop()
    same = "--port", second.url.rpartition(":")[2]
    with running(build, tmp_path / "second", *labelled, "--join-gateway", *same):
        eventually("it serves its last good state", lambda: answers(outer) == 200)


def test_nodes_with_different_labels_run_what_is_for_them(
    build: Path, tmp_path: Path, upstream: Upstream, first: Gateway, signer: Authority, port: int
) -> None:
    """An API moves from one to the other and is served all the time; a token with labels opens for no other node."""

    def write(zone: str) -> Json:
        document = api("placed", upstream.url, [attach("mark", {"name": zone})])
        document["spec"]["nodes"] = {"zone": zone}
        method, path = ("PUT", "/v1/apis/placed") if zone == "us" else ("POST", "/v1/apis")
        answer: Json = ask_controller(first, signer, method, path, json=document, params={"wait": "30"}).json()
        return answer["status"]  # type: ignore[no-any-return]

    def placed(node: Gateway) -> int:
        return httpx.get(f"{node.url}/placed/x").status_code

    alone = write("eu")
    assert (alone["state"], alone["unplaced"]) == ("pending", True)
    assert alone["reason"].startswith("expected a node with zone=eu, got first (no labels): start a node with --node-")
    wait = command(first, "wait", "api", "placed", "--for", "deployed", "--timeout", "300s")
    hopeless = subprocess.run(wait, capture_output=True, text=True, check=False, timeout=60)
    assert (hopeless.returncode, alone["reason"] in hopeless.stderr) == (5, True), hopeless.stderr
    east, west = (join_options(first, signer, port, "node", zone, zone=zone) for zone in ("eu", "us"))
    with (
        running(build, tmp_path / "east", *east, "--node-label", "zone=eu", "--node-label", "tier=edge") as east_node,
        running(build, tmp_path / "west", *west, "--node-label", "zone=us") as west_node,
    ):
        eventually("the API runs where it is to", lambda: placed(east_node) == 200)
        assert (placed(west_node), placed(first)) == (404, 404)
        with traffic(f"{east_node.url}/placed/x") as (flow,):
            flow.wait_for(20)
            moved = write("us")
            assert (moved["state"], [node["node"] for node in moved["nodes"]]) == ("deployed", ["us"])
            assert placed(west_node) == 200
            eventually("the other node has removed it", lambda: placed(east_node) == 404)
        assert flow.counts().keys() <= {200, 404}
        assert command_output(first, "node", "list").splitlines()[0].split()[:3] == ["NAME", "LABELS", "STATE"]
        shown = command_output(first, "node", "show", "eu")
        assert "tier=edge,zone=eu" in shown, shown
        drained = command_output(
            first, "node", "drain", "us", "--accept", "0s", "--wait", "60s", "--reason", "new kernel"
        )
        assert drained.startswith("us drained, by token since "), drained
        assert ": new kernel" in drained
        assert command_output(first, "node", "undrain", "us", "--wait", "60s") == "us serving\n"
        assert placed(west_node) == 200
    with running(build, tmp_path / "east", *east, "--node-label", "zone=us") as claiming:
        why = (
            "expected the labels zone=eu of the node eu, as its token has them, got zone=us: "
            "start the node with --node-label zone=eu, or give it another token"
        )
        eventually("the node says why", lambda: claiming.find_records(error=why))
        eventually("so does the controller", lambda: first.find_records(message="node refused", reason=why))
        assert placed(claiming) == 404


def test_a_node_of_another_build_rejects_what_it_lacks_and_serves_the_rest(
    tmp_path: Path, upstream: Upstream, first: Gateway, signer: Authority, port: int
) -> None:
    manifest = tmp_path / "small.yaml"
    policies = [{"name": "log-message", "filePath": str(ROOT / "policies" / "log-message")}]
    manifest.write_text(json.dumps({"version": "v1", "policies": policies}))
    output = tmp_path / "small"
    subprocess.run(["gatewright", "build", "--manifest", str(manifest), "--output", str(output)], check=True)
    plain = ask_controller(first, signer, "POST", "/v1/apis", json=api("plain", upstream.url))
    assert plain.status_code == 201, plain.text
    with running(output, tmp_path / "second", *join_options(first, signer, port, "node")) as second:
        eventually("it serves what it can", lambda: httpx.get(f"{second.url}/plain/x").status_code == 200)
        assert httpx.get(f"{second.url}/shared/x").status_code == 503
        assert httpx.get(f"{first.url}/shared/x").status_code == 200
        status = ask_controller(first, signer, "GET", "/v1/apis/shared/status").json()
        assert {node["node"]: node["state"] for node in status["nodes"]} == {"first": "deployed", "second": "rejected"}
        shown = command_output(first, "node", "show", "second")
        assert "has no policy mark:v1.0.0; build it in, or take it off the API (shared)" in shown, shown
