"""State that policies share: over the executors of a node, over nodes by a Valkey, and while that is away."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from e2e.kit.counterparts.valkey import Server, server
from e2e.kit.gateway import Gateway, Json, api, attach, eventually, fresh_name, running
from e2e.kit.listening import write
from e2e.kit.markdown import blocks, page
from e2e.kit.scraping import scrape, status
from e2e.kit.upstream import Reply, Upstream


def tally(gateway: Gateway, upstream: Upstream, path: str) -> int:
    """The count that the policy has sent upstream."""
    upstream.received.clear()
    assert httpx.get(f"{gateway.url}/{path}").status_code == 200
    (request,) = upstream.received
    return int(request.value("x-tally") or 0)


@dataclass
class Alone:
    """A node of two executors, whose state is in memory unless its Gateway names a store."""

    gateway: Gateway
    file: Path


@pytest.fixture(scope="module")
def alone(build: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alone]:
    folder = tmp_path_factory.mktemp("alone")
    file = write(folder / "gateway.yaml", {"name": "http"})
    with running(build, folder / "state", "--executors", "2", "--gateway", str(file)) as gateway:
        yield Alone(gateway, file)


def test_all_executors_of_a_node_share_it_and_a_restart_of_one_loses_nothing(alone: Alone, upstream: Upstream) -> None:
    gateway, counts, apart = alone.gateway, fresh_name("counts"), fresh_name("apart")
    gateway.deploy(api(counts, upstream.url, [attach("tally")]))
    gateway.deploy(api(apart, upstream.url, [attach("tally")]))
    assert [tally(gateway, upstream, f"{counts}/x") for _ in range(60)] == list(range(1, 61))
    assert tally(gateway, upstream, f"{apart}/x") == 1, "each API has its own"
    killed = gateway.kill(gateway.executors()[0]["name"])
    eventually("another process is there", lambda: len({e["pid"] for e in gateway.executors()} - {killed}) == 2, 60)
    assert tally(gateway, upstream, f"{counts}/x") == 61


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with server(tmp_path_factory.mktemp("valkey")) as started:
        yield started


def store_at(valkey: Server, **more: object) -> dict[str, object]:
    return {"valkey": {"address": valkey.address, **more}}


@dataclass
class Nodes:
    """Two that share a Valkey: one asks it over TLS, the other in clear."""

    first: Gateway
    second: Gateway
    valkey: Server

    def deploy(self, name: str, upstream: Upstream, attachment: Json) -> None:
        for node in (self.first, self.second):
            node.deploy(api(name, upstream.url, [attachment]))


@pytest.fixture(scope="module")
def nodes(build: Path, tmp_path_factory: pytest.TempPathFactory, valkey: Server) -> Iterator[Nodes]:
    folder = tmp_path_factory.mktemp("nodes")
    by_tls = {"address": valkey.tls_address, "tls": {"authorityFile": str(valkey.authority)}}
    stores = {"one": {"valkey": by_tls}, "other": store_at(valkey)}
    with ExitStack() as stack:
        first, second = (
            stack.enter_context(
                running(
                    build, folder / f"state-{name}",
                    "--gateway", str(write(folder / f"{name}.yaml", {"name": "http"}, store=store)),
                )
            )
            for name, store in stores.items()
        )  # fmt: skip
        yield Nodes(first, second, valkey)


def test_nodes_share_a_valkey_and_fail_at_once_while_it_is_away(nodes: Nodes, upstream: Upstream) -> None:
    first, second, valkey, counts, opens = (
        nodes.first,
        nodes.second,
        nodes.valkey,
        fresh_name("counts"),
        fresh_name("opens"),
    )
    nodes.deploy(counts, upstream, attach("tally"))
    nodes.deploy(opens, upstream, attach("tally", onError={"unavailable": "continue"}))
    counts_seen = [tally(node, upstream, f"{counts}/x") for _ in range(5) for node in (first, second)]
    assert counts_seen == list(range(1, 11))
    with valkey.away():
        eventually("the node reports it", lambda: scrape(first).value("gatewright_store_connected") == 0, 30)
        start = time.monotonic()
        assert {httpx.get(f"{first.url}/{counts}/x").status_code for _ in range(10)} == {503}
        assert {httpx.get(f"{first.url}/{opens}/x").status_code for _ in range(10)} == {200}
        assert time.monotonic() - start < 20, "each call may take 5 s, and takes none of it"
        assert status(first.run_dir)["shortcomings"][0].startswith(
            f"the store at {valkey.tls_address} does not answer ("
        )
    start = time.monotonic()
    urls = [f"{node.url}/{counts}/x" for node in (first, second)]
    eventually("it is back for both", lambda: all(httpx.get(url).status_code == 200 for url in urls), 10)
    print(f"the store is used again {time.monotonic() - start:.2f} s after it answers")
    before = tally(first, upstream, f"{counts}/x")
    assert tally(second, upstream, f"{counts}/x") > before


PURGE = "known to the publisher of the prices"
CACHED = {"where": "store", "lifetimes": {"200": 300}, "purge": {"token": PURGE}}
STORED, HIT, NOT_STORED = (
    "gatewright; fwd=uri-miss; stored",
    "gatewright; hit",
    "gatewright; fwd=uri-miss; detail=store",
)


class Shop:
    """An API of both nodes whose answers are kept. Upstream's answers are numbered, for each path anew."""

    def __init__(self, nodes: Nodes, upstream: Upstream) -> None:
        self._nodes, self._name = nodes, fresh_name("cached")
        self._upstream = upstream
        upstream.reply = lambda request: Reply(body=str(len(self._upstream.to(request.target))).encode())
        nodes.deploy(self._name, upstream, attach("response-cache", CACHED, timeout="25s"))

    def ask(self, node: Gateway, path: str, **headers: str) -> tuple[int, str, str]:
        """The status, the cache status, and the body."""
        request_headers = {"host": "shop.example", **headers}
        answer = httpx.get(f"{node.url}/{self._name}/{path}", headers=request_headers, timeout=30)
        return answer.status_code, answer.headers.get("cache-status", "").partition("; ttl=")[0], answer.text

    def round(self) -> list[tuple[int, str, str]]:
        """Sends a request to one node, then to the other, which then purges the path; then to both once more."""
        first, second, path = self._nodes.first, self._nodes.second, fresh_name("price")
        answers = [self.ask(first, path), self.ask(second, path)]
        answers.append((self.ask(second, path, **{"x-cache-purge": PURGE})[0], "", ""))
        return [*answers, self.ask(first, path), self.ask(second, path)]


SHARED = [(200, STORED, "1"), (200, HIT, "1"), (204, "", ""), (200, STORED, "2"), (200, HIT, "2")]
APART = [(200, NOT_STORED, "1"), (200, NOT_STORED, "2"), (503, "", ""), (200, NOT_STORED, "3"), (200, NOT_STORED, "4")]


def test_nodes_share_answers_and_purges_and_ask_upstream_while_the_valkey_is_away(
    nodes: Nodes, upstream: Upstream
) -> None:
    """A round is tried again: where the store is slow, for 0.1 s, an answer is not kept."""
    shop = Shop(nodes, upstream)
    eventually("what one has kept is given by the other", lambda: shop.round() == SHARED, 30)
    with nodes.valkey.away():
        assert shop.round() == APART
    eventually("answers are kept again", lambda: shop.round() == SHARED, 30)


def test_the_gateway_names_another_store_while_it_runs(
    alone: Alone, tmp_path: Path, upstream: Upstream, valkey: Server
) -> None:
    gateway, file, moves = alone.gateway, alone.file, fresh_name("moves")
    gateway.deploy(api(moves, upstream.url, [attach("tally")]))
    assert [tally(gateway, upstream, f"{moves}/x") for _ in range(3)] == [1, 2, 3]
    write(file, {"name": "http"}, store=store_at(valkey, prefix=f"{tmp_path.name}:"))
    try:
        assert gateway.reload().returncode == 0
        eventually("it is elsewhere", lambda: _count(gateway, upstream, moves) in {1, 2}, 30)
        assert f"{tmp_path.name}:tally:{moves}:k:tally:all".encode() in valkey.ask(f"KEYS {tmp_path.name}:*")
    finally:
        write(file, {"name": "http"})
        assert gateway.reload().returncode == 0
    eventually("it is in memory again, as it was", lambda: _count(gateway, upstream, moves) == 4, 30)


def _count(gateway: Gateway, upstream: Upstream, name: str) -> int:
    """0 where there is no store at this moment."""
    upstream.received.clear()
    httpx.get(f"{gateway.url}/{name}/x")
    return int(upstream.received[-1].value("x-tally") or 0) if upstream.received else 0


BUDGET_TEST = """
import asyncio

from sdk import testing

policy = testing.load_policy(__file__)


def test_20_requests_fit_and_one_more_when_one_has_cost_nothing():
    with testing.store(), testing.prepared(policy) as made:
        requests = [testing.request(prepared=made) for _ in range(21)]
        answers = [asyncio.run(policy.on_request(request, testing.params())) for request in requests]
        assert [answer and answer.status_code for answer in answers] == [None] * 20 + [429]
        response = testing.response(request=requests[0])
        asyncio.run(policy.on_response(response, testing.params()))
        assert asyncio.run(policy.on_request(testing.request(prepared=made), testing.params())) is None
"""


def test_the_shown_policies_of_the_store_pass_their_tests(tmp_path: Path) -> None:
    policy, budget, test = blocks(page("docs/how-to/store.md"), "python")
    pass_test(tmp_path / "shown", policy, test)
    pass_test(tmp_path / "budget", budget, BUDGET_TEST)


def pass_test(folder: Path, policy: str, test: str) -> None:
    folder.mkdir()
    (folder / "policy.py").write_text(policy)
    (folder / "test_policy.py").write_text(test)
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder)],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "1 passed" in result.stdout, result.stdout
