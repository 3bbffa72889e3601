"""A policy chooses an upstream: only among the API's own, with all that a request is to it, and never by a header."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from concurrent import futures
from typing import Any

import grpc
import httpx
import pytest

from e2e.kit.gateway import Gateway, Json, api, attach
from e2e.kit.upstream import Reply, Upstream

OPERATIONS = [{"method": method, "path": path} for method in ("GET", "POST") for path in ("/*", "/items/{id}")]


@pytest.fixture(scope="module")
def canary() -> Iterator[Upstream]:
    with Upstream() as upstream:
        yield upstream


def api_of_two_pools(name: str, main: Upstream, canary: Upstream, *policies: Json, **spec: object) -> Json:
    """An API of two pools, the second of which has another base path."""
    document = api(name, f"{main.url}/main", list(policies), list(OPERATIONS))
    document["spec"]["upstream"]["canary"] = {"url": f"{canary.url}/other/base"}
    document["spec"] |= spec
    return document


def test_a_policy_chooses_a_pool_with_its_authority_and_its_base_path(
    gateway: Gateway, upstream: Upstream, canary: Upstream
) -> None:
    canary.reset()
    gateway.deploy(api_of_two_pools("choice", upstream, canary, attach("retarget", {"upstream": "canary"})))
    for method in ("GET", "POST"):
        assert httpx.request(method, f"{gateway.url}/choice/items/7?a=b").status_code == 200
    assert upstream.received == []
    assert [(request.method, request.target) for request in canary.received] == [
        ("GET", "/other/base/items/7?a=b"),
        ("POST", "/other/base/items/7?a=b"),
    ]
    assert canary.received[0].value("host") == f"127.0.0.1:{canary.port}"


def test_without_a_choice_the_operations_pool_is_used(gateway: Gateway, upstream: Upstream, canary: Upstream) -> None:
    canary.reset()
    gateway.deploy(api_of_two_pools("unchosen", upstream, canary, attach("mark", {"name": "m"})))
    assert httpx.get(f"{gateway.url}/unchosen/items/7").status_code == 200
    (request,) = upstream.received
    assert (request.target, request.value("host")) == ("/main/items/7", f"127.0.0.1:{upstream.port}")
    assert canary.received == []


def test_a_choice_goes_with_other_changes(gateway: Gateway, upstream: Upstream, canary: Upstream) -> None:
    """A path that another operation has, and an authority that no virtual host has, lead to no other route."""
    canary.reset()
    own = [{"method": "GET", "path": "/denied", "policies": [attach("deny-headers")]}]
    changes = {
        "upstream": "canary",
        "path": "/mixed/denied",
        "query": "n=2",
        "authority": "elsewhere.test",
        "method": "PUT",
    }
    document = api_of_two_pools("mixed", upstream, canary, attach("retarget", changes))
    document["spec"]["operations"] += own
    gateway.deploy(document)
    assert httpx.get(f"{gateway.url}/mixed/items/7").status_code == 200
    (request,) = canary.received
    assert (request.method, request.target, request.value("host")) == (
        "PUT",
        "/other/base/denied?n=2",
        "elsewhere.test",
    )
    assert upstream.received == []


def test_no_header_of_a_client_chooses(gateway: Gateway, upstream: Upstream, canary: Upstream) -> None:
    canary.reset()
    gateway.deploy(api_of_two_pools("headers", upstream, canary, attach("mark", {"name": "m"})))
    names = ("gatewright.upstream", "x-gatewright-upstream", "upstream", "gatewright.choice", "x-envoy-upstream-alt")
    assert httpx.get(f"{gateway.url}/headers/a", headers=dict.fromkeys(names, "canary")).status_code == 200
    assert (len(upstream.received), len(canary.received)) == (1, 0)


@pytest.mark.parametrize("name", ["nope", "CANARY", "-"])
def test_an_unknown_pool_is_a_bad_action(gateway: Gateway, upstream: Upstream, canary: Upstream, name: str) -> None:
    canary.reset()
    gateway.deploy(api_of_two_pools("unknown", upstream, canary, attach("retarget", {"upstream": name})))
    assert httpx.get(f"{gateway.url}/unknown/a").status_code == 500
    assert upstream.received == canary.received == []


def test_a_choice_goes_before_a_split(gateway: Gateway, upstream: Upstream, canary: Upstream) -> None:
    canary.reset()
    split = [{"upstream": "main", "weight": 1}, {"upstream": "canary", "weight": 1}]
    gateway.deploy(
        api_of_two_pools("choice-split", upstream, canary, attach("retarget", {"upstream": "main"}), split=split)
    )
    for _ in range(40):
        assert httpx.get(f"{gateway.url}/choice-split/items/7").status_code == 200
    assert (len(upstream.received), len(canary.received)) == (40, 0)


def test_a_split_with_policies_that_choose_nothing_has_its_shares(
    gateway: Gateway, upstream: Upstream, canary: Upstream
) -> None:
    canary.reset()
    split = [{"upstream": "main", "weight": 3}, {"upstream": "canary", "weight": 1}]
    gateway.deploy(api_of_two_pools("split-chain", upstream, canary, attach("mark", {"name": "m"}), split=split))
    with httpx.Client() as client:
        for _ in range(800):
            assert client.get(f"{gateway.url}/split-chain/items/7").status_code == 200
    assert abs(len(canary.received) - 200) < 5 * (0.25 * 0.75 * 800) ** 0.5
    assert {request.target for request in canary.received} == {"/other/base/items/7"}
    assert {request.target for request in upstream.received} == {"/main/items/7"}


@pytest.mark.parametrize("policy", ["body-length", "pass-stream"])
def test_a_choice_works_where_bodies_are_buffered(
    gateway: Gateway, upstream: Upstream, canary: Upstream, policy: str
) -> None:
    canary.reset()
    gateway.deploy(
        api_of_two_pools("choice-body", upstream, canary, attach(policy), attach("retarget", {"upstream": "canary"}))
    )
    for body in (b"", b"x" * 100_000):
        canary.reset()
        assert httpx.post(f"{gateway.url}/choice-body/items/7", content=body).status_code == 200
        assert canary.received[0].body == body
    assert upstream.received == []


def test_a_choice_is_sent_again_to_the_same_pool(gateway: Gateway, upstream: Upstream, canary: Upstream) -> None:
    canary.reset()
    canary.reply = lambda _: Reply(503)
    document = api_of_two_pools(
        "choice-again", upstream, canary, attach("retarget", {"upstream": "canary"}), retries={"attempts": 3}
    )
    gateway.deploy(document)
    assert httpx.get(f"{gateway.url}/choice-again/a").status_code == 503
    assert (len(upstream.received), len(canary.received)) == (0, 3)


def test_a_pool_that_is_chosen_is_not_sent_a_copy_as_well(
    gateway: Gateway, upstream: Upstream, canary: Upstream
) -> None:
    canary.reset()
    document = api_of_two_pools("choice-copy", upstream, canary, attach("retarget", {"upstream": "canary"}))
    document["spec"]["upstream"]["canary"] = {"url": f"{canary.url}/main"}
    document["spec"]["mirror"] = [{"upstream": "canary"}]
    gateway.deploy(document)
    assert httpx.get(f"{gateway.url}/choice-copy/items/7").status_code == 200
    assert [request.target for request in canary.received] == ["/main/items/7"]


def test_a_choice_on_a_route_that_goes_nowhere_is_without_effect(
    gateway: Gateway, upstream: Upstream, canary: Upstream
) -> None:
    canary.reset()
    document = api_of_two_pools("choice-none", upstream, canary, attach("retarget", {"upstream": "canary"}))
    document["spec"]["operations"] = [{"method": "GET", "path": "/a", "answer": {"body": "here"}}]
    gateway.deploy(document)
    assert httpx.get(f"{gateway.url}/choice-none/a").text == "here"
    assert httpx.options(f"{gateway.url}/choice-none/a").status_code == 204
    assert upstream.received == canary.received == []


def test_a_websocket_goes_to_the_pool_that_a_policy_chose_and_has_its_own_idle_time(
    gateway: Gateway, upstream: Upstream
) -> None:
    there = Switching()
    operation = {"method": "GET", "path": "/*", "idleTimeout": "30s", "websocket": {"idleTimeout": "3s"}}
    document = api("choice-ws", upstream.url, [attach("retarget", {"upstream": "live"})], [operation])
    document["spec"] |= {"requestTimeout": "200ms"}
    document["spec"]["upstream"]["live"] = {"url": f"{there.url}/base"}
    gateway.deploy(document)
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=20) as connection:
        lines = ["GET /choice-ws/a HTTP/1.1", "host: a", "connection: upgrade", "upgrade: websocket", "", ""]
        connection.sendall("\r\n".join(lines).encode())
        assert connection.recv(65536).startswith(b"HTTP/1.1 101 ")
        for _ in range(3):
            time.sleep(0.5)  # longer than requestTimeout
            start = time.monotonic()
            connection.sendall(b"ping")
            assert connection.recv(65536) == b"ping"
        assert connection.recv(65536) == b"", "expected its end, before the 30 s of the operation"
        assert time.monotonic() - start >= 3
    assert there.heads[0].startswith(b"GET /base/a HTTP/1.1\r\n")
    assert upstream.received == []


class Switching:
    """An upstream that switches to another protocol and echoes."""

    def __init__(self) -> None:
        self.heads: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with self._listener:
            connection, _ = self._listener.accept()
        with connection:
            self.heads.append(connection.recv(65536))
            connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
            while data := connection.recv(65536):
                connection.sendall(data)


def test_a_grpc_call_goes_where_a_policy_chose(gateway: Gateway, upstream: Upstream) -> None:
    def service(details: grpc.HandlerCallDetails) -> Any:
        return grpc.unary_unary_rpc_method_handler(lambda request, _: request + details.method.encode())

    class Handler(grpc.GenericRpcHandler):
        def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
            return service(handler_call_details)

    server = grpc.server(futures.ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers((Handler(),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    operations = [{"method": "POST", "path": "/*"}]
    document = api("choice-grpc", upstream.url, [attach("retarget", {"upstream": "calls"})], operations)
    document["spec"]["upstream"]["calls"] = {"url": f"grpc://127.0.0.1:{port}/pkg.S"}
    gateway.deploy(document)
    with grpc.insecure_channel(f"127.0.0.1:{gateway.port}") as channel:
        assert channel.unary_unary("/choice-grpc/Get", bytes, bytes)(b"x", timeout=10) == b"x/pkg.S/Get"
    server.stop(0).wait()
