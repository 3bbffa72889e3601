"""State that policies share: over the executors of a node, over nodes by a Valkey, and while that is away."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from gatewright_controller.validation.gateway import validate_gateway
from gatewright_documents.yaml_reader import parse_yaml

from e2e.counterparts.valkey import Server, server
from e2e.gateway import Gateway, api, attach, eventually, running
from e2e.listening import write
from e2e.markdown import blocks, page
from e2e.scraping import scrape, status
from e2e.upstream import Upstream


def tally(gateway: Gateway, upstream: Upstream, path: str) -> int:
    """What the policy has told upstream of this request."""
    upstream.received.clear()
    assert httpx.get(f"{gateway.url}/{path}").status_code == 200
    (request,) = upstream.received
    return int(request.value("x-tally") or 0)


def test_all_executors_of_a_node_share_it_and_a_restart_of_one_loses_nothing(
    build: Path, tmp_path: Path, upstream: Upstream
) -> None:
    with running(build, tmp_path / "state", "--executors", "2") as gateway:
        gateway.deploy(api("counts", upstream.url, [attach("tally")]))
        gateway.deploy(api("apart", upstream.url, [attach("tally")]))
        assert [tally(gateway, upstream, "counts/x") for _ in range(60)] == list(range(1, 61))
        assert tally(gateway, upstream, "apart/x") == 1, "each API has its own"
        killed = gateway.kill(gateway.executors()[0]["name"])
        eventually("another process is there", lambda: len({e["pid"] for e in gateway.executors()} - {killed}) == 2, 60)
        assert tally(gateway, upstream, "counts/x") == 61


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with server(tmp_path_factory.mktemp("valkey")) as started:
        yield started


def shared_by(valkey: Server, **more: object) -> dict[str, object]:
    return {"valkey": {"address": valkey.address, **more}}


def test_nodes_share_a_valkey_and_fail_at_once_while_it_is_away(
    build: Path, tmp_path: Path, upstream: Upstream, valkey: Server
) -> None:
    with ExitStack() as nodes:
        files = [write(tmp_path / f"{number}.yaml", {"name": "http"}, store=shared_by(valkey)) for number in range(2)]
        one, other = (
            nodes.enter_context(running(build, tmp_path / f"state-{number}", "--gateway", str(file)))
            for number, file in enumerate(files)
        )
        closed = attach("tally")
        opens = attach("tally", onError={"unavailable": "continue"})
        for node in (one, other):
            node.deploy(api("counts", upstream.url, [closed]))
            node.deploy(api("opens", upstream.url, [opens]))
        told = [tally(node, upstream, "counts/x") for _ in range(5) for node in (one, other)]
        assert told == list(range(1, 11))
        valkey.kill()
        eventually("the node says so", lambda: scrape(one).value("gatewright_store_connected") == 0, 30)
        began = time.monotonic()
        assert {httpx.get(f"{one.url}/counts/x").status_code for _ in range(10)} == {503}
        assert {httpx.get(f"{one.url}/opens/x").status_code for _ in range(10)} == {200}
        assert time.monotonic() - began < 20, "each call may take 5 s, and takes none of it"
        assert status(one.run_dir)["shortcomings"] == [f"the store at {valkey.address} does not answer"]
        valkey.start()
        eventually("it is back", lambda: httpx.get(f"{one.url}/counts/x").status_code == 200, 30)
        before = tally(one, upstream, "counts/x")
        eventually("so it is elsewhere", lambda: httpx.get(f"{other.url}/counts/x").status_code == 200, 30)
        assert tally(one, upstream, "counts/x") > before


def test_the_gateway_names_another_store_while_it_runs(
    build: Path, tmp_path: Path, upstream: Upstream, valkey: Server
) -> None:
    file = write(tmp_path / "gateway.yaml", {"name": "http"})
    with running(build, tmp_path / "state", "--gateway", str(file)) as gateway:
        gateway.deploy(api("moves", upstream.url, [attach("tally")]))
        assert [tally(gateway, upstream, "moves/x") for _ in range(3)] == [1, 2, 3]
        write(file, {"name": "http"}, store=shared_by(valkey, prefix=f"{tmp_path.name}:"))
        assert gateway.reload().returncode == 0
        eventually("it is elsewhere", lambda: _count(gateway, upstream) in {1, 2}, 30)
        assert f"{tmp_path.name}:tally:moves:k:tally:all".encode() in valkey.ask(f"KEYS {tmp_path.name}:*")
        write(file, {"name": "http"})
        assert gateway.reload().returncode == 0
        eventually("it is in memory again, as it was", lambda: _count(gateway, upstream) == 4, 30)


def _count(gateway: Gateway, upstream: Upstream) -> int:
    """0 where there is no store at this moment."""
    upstream.received.clear()
    httpx.get(f"{gateway.url}/moves/x")
    return int(upstream.received[-1].value("x-tally") or 0) if upstream.received else 0


def test_the_page_does_what_it_says(tmp_path: Path) -> None:
    policy, test = blocks(page("docs/how-to/store.md"), "python")
    (tmp_path / "policy.py").write_text(policy)
    (tmp_path / "test_policy.py").write_text(test)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "1 passed" in done.stdout, done.stdout
    (gateway,) = blocks(page("docs/how-to/store.md"), "yaml")
    assert validate_gateway(parse_yaml(gateway.encode())).spec.store.valkey
