"""A node of another machine: it joins a controller over the network, and serves on without it."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from e2e.kit.certificates import Authority, authority
from e2e.kit.gateway import Gateway, api, attach, credentials, eventually, running
from e2e.kit.listening import free_port
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


def join_options(first: Gateway, signer: Authority, port: int, role: str) -> list[str]:
    """Those of a second node, which has a new token with this role."""
    created = ask_controller(first, signer, "POST", "/v1/tokens", json={"name": "second", "role": role})
    token = signer.folder / "token"
    token.write_text(created.json()["token"])
    files = "--join-authority", str(signer.file), "--join-token-file", str(token)
    return ["--join", f"127.0.0.1:{port}", *files, "--node-id", "second"]


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
