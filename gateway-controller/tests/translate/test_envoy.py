"""What we render, before the real Envoy: it accepts it, and does with requests what was meant."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from gatewright_controller._gen import node_pb2
from gatewright_controller.definitions import Definitions
from gatewright_controller.documents import parse_yaml
from gatewright_controller.model import JsonObject
from gatewright_controller.translate import EdgeSettings, translate
from gatewright_controller.validation import validate

if TYPE_CHECKING:
    from conftest import Engine, Gateway

pytestmark = pytest.mark.timeout(120)
TESTDATA = Path(__file__).parent.parent / "testdata"
SETTINGS = EdgeSettings(trusted_ca=str(TESTDATA / "ca.pem"))


def bundle(document: JsonObject, definitions: Definitions) -> node_pb2.ApiBundle:
    return translate(validate(document, definitions, {}), definitions, SETTINGS).message


def api(name: str, context: str, url: str, operations: list[JsonObject], **spec: object) -> JsonObject:
    upstream = {"main": {"url": url}}
    return {
        "apiVersion": "gatewright.dev/v1",
        "kind": "Api",
        "metadata": {"name": name},
        "spec": {"version": "v1.0", "context": context, "upstream": upstream, "operations": operations, **spec},
    }


def test_envoy_accepts_all_that_we_render(gateway: Gateway, definitions: Definitions) -> None:
    documents = [parse_yaml(path.read_bytes()) for path in sorted((TESTDATA / "golden").glob("*.in.yaml"))]
    assert gateway.validate([bundle(document, definitions) for document in documents]) == ""


def test_envoy_says_what_it_does_not_accept(gateway: Gateway, definitions: Definitions) -> None:
    """That the test above can fail."""
    made = bundle(api("a", "/", "http://127.0.0.1", [{"method": "GET", "path": "/"}]), definitions)
    made.clusters[0] = made.clusters[0].replace(b"127.0.0.1", b"300.0.0.1")
    assert "300.0.0.1" in gateway.validate([made])


@pytest.fixture
def client(gateway: Gateway, engine: Engine, upstream: int, definitions: Definitions) -> Iterator[httpx.Client]:  # noqa: ARG001
    """Two APIs, one's context above the other's; `/orders/v1.0` has policies, `/` has none."""
    body = {"policies": [{"name": "rewrite-body", "version": "v1"}]}
    orders = api(
        "orders",
        "/orders/$version",
        f"http://127.0.0.1:{upstream}/api",
        [
            {"method": "GET", "path": "/{id}"},
            {"method": "POST", "path": "/", **body},
            {"method": "PUT", "path": "/files/*"},
            {"method": "POST", "path": "/special"},
            {"method": "GET", "path": "/special/{id}/lines"},
        ],
        policies=[{"name": "log-message", "version": "v1"}],
    )
    root = api("root", "/", f"http://127.0.0.1:{upstream}", [{"method": "GET", "path": "/*"}])
    bundles = [bundle(document, definitions) for document in (orders, root)]
    with gateway.start(bundles) as client:
        engine.seen.clear()
        yield client


@pytest.mark.parametrize("case", [
    ("GET", "/orders/v1.0/7", "GET /{id}", "/api/7"),
    ("GET", "/orders/v1.0/7?a=/orders/v1.0/8", "GET /{id}", "/api/7?a=/orders/v1.0/8"),
    ("GET", "/orders/v1.0/a%20b", "GET /{id}", "/api/a%20b"),
    ("GET", "/orders/v1.0/special", "GET /{id}", "/api/special"),
    ("POST", "/orders/v1.0/special", "POST /special", "/api/special"),
    ("GET", "/orders/v1.0/special/7/lines", "GET /special/{id}/lines", "/api/special/7/lines"),
    ("POST", "/orders/v1.0", "POST /", "/api"),
    ("POST", "/orders/v1.0/", "POST /", "/api/"),
    ("PUT", "/orders/v1.0/files", "PUT /files/*", "/api/files"),
    ("PUT", "/orders/v1.0/files/a/b", "PUT /files/*", "/api/files/a/b"),
])  # fmt: skip
def test_operations_meet_their_chains_and_the_upstream(
    client: httpx.Client, engine: Engine, case: tuple[str, str, str, str]
) -> None:
    method, path, operation, upstream_path = case
    answer = client.request(method, path)
    assert (answer.status_code, answer.json()["path"]) == (200, upstream_path)
    route, phase = engine.seen[0]
    assert route.startswith(f"orders|{operation}|")
    assert len(route.rpartition("|")[2]) == 32
    assert phase == "request_headers"


@pytest.mark.parametrize("path", ["/ordersX", "/orders/v1.0X", "/orders/v1.00/7", "/", "/a/b", "/orders/v1.0/a/b/c"])
def test_what_no_longer_context_answers_goes_to_the_shorter_one(
    client: httpx.Client, engine: Engine, path: str
) -> None:
    assert client.get(path).json()["path"] == path
    assert engine.seen == []


def test_get_answers_head(client: httpx.Client, engine: Engine) -> None:
    answer = client.head("/orders/v1.0/7")
    assert (answer.status_code, answer.content) == (200, b"")
    assert engine.seen[0][0].startswith("orders|GET /{id}|")


def test_another_method_is_told_the_known_ones(client: httpx.Client, engine: Engine) -> None:
    refused = client.delete("/orders/v1.0/special")
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD, OPTIONS, POST")
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json()["status"] == 405
    assert client.delete("/orders/v1.0/7").headers["allow"] == "GET, HEAD, OPTIONS"
    assert engine.seen == []


def test_preflight_meets_the_apis_own_policies(client: httpx.Client, engine: Engine) -> None:
    answer = client.options("/orders/v1.0/7")
    assert (answer.status_code, answer.headers["allow"]) == (204, "GET, HEAD, OPTIONS")
    route, _ = engine.seen[0]
    assert route.startswith("orders|OPTIONS /{id}|")
    assert [phase for _, phase in engine.seen] == ["request_headers", "response_headers"]
    assert client.options("/elsewhere").status_code == 204
    assert len(engine.seen) == 2


def test_the_engine_is_sent_what_the_chain_wants(client: httpx.Client, engine: Engine) -> None:
    client.get("/orders/v1.0/7")
    assert [phase for _, phase in engine.seen] == ["request_headers", "response_headers"]
    engine.seen.clear()
    answer = client.post("/orders/v1.0", content=b"x" * 1000)
    assert answer.json()["method"] == "POST"
    assert {phase for _, phase in engine.seen} == {
        "request_headers", "request_body", "response_headers", "response_body",
    }  # fmt: skip


def test_a_path_that_a_policy_changed_is_still_put_behind_the_base(client: httpx.Client) -> None:
    for path in ("/orders/v1.0/special", "/orders/v1.0/7"):
        method = "POST" if path.endswith("special") else "GET"
        answer = client.request(method, path, headers={"x-set-path": "/orders/v1.0/a/b?c=d"})
        assert answer.json()["path"] == "/api/a/b?c=d"


def test_the_upstream_is_called_by_its_name_unless_a_policy_says_otherwise(client: httpx.Client, upstream: int) -> None:
    assert client.get("/orders/v1.0/7").json()["host"] == f"127.0.0.1:{upstream}"
    assert client.get("/x").json()["host"] == f"127.0.0.1:{upstream}"
    assert client.get("/orders/v1.0/7", headers={"x-set-authority": "other.example"}).json()["host"] == "other.example"


def test_nothing_of_ours_reaches_the_upstream(client: httpx.Client) -> None:
    assert not [name for name in client.get("/orders/v1.0/7").json()["headers"] if name.startswith("x-envoy")]


def test_a_slow_upstream_is_given_up(
    gateway: Gateway, upstream: int, definitions: Definitions, engine: Engine  # noqa: ARG001
) -> None:
    settings = dataclasses.replace(SETTINGS, route_timeout_ms=50)
    document = api("a", "/", f"http://127.0.0.1:{upstream}", [{"method": "GET", "path": "/"}])
    slow = translate(validate(document, definitions, {}), definitions, settings).message
    with gateway.start([slow]) as client:
        assert client.get("/", headers={"x-hold": "0.5"}).status_code == 504
