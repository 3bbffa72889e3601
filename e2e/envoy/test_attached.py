"""Policies in an Envoy that others configure: what runs there, and that nothing passes them by."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc
import httpx
import pytest
from envoy.service.ext_proc.v3 import external_processor_pb2_grpc as ext_proc_grpc

from e2e.kit.attached_envoy import attached_envoy, connection_manager, ext_proc_of
from e2e.kit.certificates import authority
from e2e.kit.client_certificates import client_certificate
from e2e.kit.gateway import Gateway, Json, api, attach, eventually, running
from e2e.kit.listening import free_port
from e2e.kit.lone_envoy import Engine, LoneEnvoy, Messages, immediate_response
from e2e.kit.raw_http import request as raw_request
from e2e.kit.scraping import scrape
from e2e.kit.streaming_upstream import StreamingUpstream
from e2e.kit.upstream import Reply, Upstream
from e2e.kit.wire import Answer, Shape, http1, http2

pytestmark = pytest.mark.timeout(180)


@dataclass
class Attached:
    """A gateway, and an Envoy that others have configured in front of the upstream."""

    gateway: Gateway
    envoy: LoneEnvoy
    engine_port: int

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=f"http://127.0.0.1:{self.envoy.port}", timeout=30)


@contextmanager
def another_envoy(
    attached: Attached, upstream_port: int, change: Callable[[Json], None] = lambda _: None
) -> Iterator[httpx.Client]:
    """A client of one more Envoy of the same engine."""
    with (
        attached_envoy(upstream_port, attached.engine_port, change) as envoy,
        httpx.Client(base_url=f"http://127.0.0.1:{envoy.port}", timeout=30) as client,
    ):
        yield client


def attached_api(name: str, names: list[str], policies: list[Json], context: str) -> Json:
    document = api(name, "", policies)
    del document["spec"]["upstream"]
    document["spec"] |= {"attachTo": names, "context": context}
    return document


@pytest.fixture(scope="module")
def attached(build: Path, tmp_path_factory: pytest.TempPathFactory, recording_upstream: Upstream) -> Iterator[Attached]:
    port = free_port()
    with (
        running(build, tmp_path_factory.mktemp("attached"), "--pe.attach-listen", f"127.0.0.1:{port}") as gateway,
        attached_envoy(recording_upstream.port, port) as envoy,
    ):
        yield Attached(gateway, envoy, port)


def deploy(attached: Attached, *policies: Json, context: str = "/shop", **spec: object) -> None:
    """Makes these the policies of the route `shop`."""
    document = attached_api("shop", ["shop"], list(policies), context)
    document["spec"] |= spec
    attached.gateway.deploy(document)


def refusals(attached: Attached, reason: str) -> float:
    return scrape(attached.gateway).value("gatewright_attached_refused_total", reason=reason)


GO = attach("add-headers", {"requestHeaders": [{"name": "x-go", "value": "1"}]})
PYTHON = attach("add-python-header", {"headerName": "x-python", "headerValue": "2"})


def test_go_and_python_policies_run_for_a_route_that_others_have_made(attached: Attached, upstream: Upstream) -> None:
    deploy(attached, GO, PYTHON)
    with attached.client() as client:
        answer = client.get("/shop/cups?size=1")
    (request,) = upstream.received
    assert (answer.status_code, answer.headers["x-python"]) == (200, "2")
    assert (request.target, request.value("x-go"), request.value("x-python")) == ("/cups?size=1", "1", "2")


def test_a_name_that_ends_in_a_star_is_the_beginning_of_names(attached: Attached, upstream: Upstream) -> None:
    attached.gateway.deploy(attached_api("orders", ["web/orders/*"], [PYTHON], "/orders"))
    with attached.client() as client:
        assert client.get("/orders/1").headers["x-python"] == "2"
    attached.gateway.remove("orders")
    with attached.client() as client:
        assert client.get("/orders/1").status_code == 503
    assert len(upstream.received) == 1


def test_a_name_is_one_apis_until_it_is_free(attached: Attached, upstream: Upstream) -> None:
    deploy(attached, GO)
    with attached.gateway.controller() as client:
        second = attached_api("second", ["shop"], [PYTHON], "/second")
        refused = client.post("/v1/apis", json=second)
        assert (refused.status_code, "got 'shop', which is shop's" in refused.text) == (422, True)
    attached.gateway.remove("shop")
    attached.gateway.deploy(second)
    attached.gateway.remove("second")
    assert upstream.received == []


def test_where_no_route_name_is_sent_the_authority_of_the_stream_is_the_name(
    attached: Attached, upstream: Upstream
) -> None:
    deploy(attached, PYTHON)

    def name_by_authority(config: Json) -> None:
        found = ext_proc_of(config)
        found["request_attributes"] = []
        found["grpc_service"]["envoy_grpc"]["authority"] = "shop"

    with another_envoy(attached, upstream.port, name_by_authority) as client:
        assert client.get("/shop/cups", headers={"x-authority": "other"}).headers["x-python"] == "2"


def test_headers_that_a_route_sets_come_behind_the_policies(attached: Attached, upstream: Upstream) -> None:
    deploy(attached, attach("python-deny", {"headerName": "x-route"}), GO)

    def set_header(config: Json) -> None:
        route = connection_manager(config)["route_config"]["virtual_hosts"][0]["routes"][0]
        route["request_headers_to_add"] = [{"header": {"key": "x-route", "value": "shop"}}]

    with another_envoy(attached, upstream.port, set_header) as client:
        assert client.get("/shop/cups").status_code == 401
        assert client.get("/shop/cups", headers={"x-route": "forged"}).status_code == 200


def test_an_envoy_sends_its_minor_version_as_a_number(upstream: Upstream) -> None:
    def refuse(messages: Messages, _: grpc.ServicerContext) -> Iterator[Any]:
        next(messages)
        yield immediate_response()

    engine, server = Engine(shop=refuse), grpc.server(ThreadPoolExecutor(2))
    ext_proc_grpc.add_ExternalProcessorServicer_to_server(engine, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with attached_envoy(upstream.port, port) as envoy:
            assert httpx.get(f"http://127.0.0.1:{envoy.port}/shop/cups").status_code == 403
    finally:
        server.stop(None).wait()
    fields = engine.messages[0].attributes["envoy.filters.http.ext_proc"].fields
    assert fields["xds.node.user_agent_build_version.version.minor_number"].number_value >= 39


@pytest.mark.parametrize("path", ["/stranger/x", "/nameless/x"])
def test_a_route_that_no_api_names_is_closed_whatever_a_client_says(
    attached: Attached, upstream: Upstream, path: str
) -> None:
    deploy(attached, GO)
    forged = {
        "x-gatewright-api": "shop",
        "x-gatewright-route": "shop",
        "xds.route_name": "shop",
        "x-envoy-original-path": "/shop/x",
    }
    before = refusals(attached, "unknown_name")
    with attached.client() as client:
        answer = client.get(path, headers=forged)
    assert (answer.status_code, upstream.received) == (503, [])
    assert refusals(attached, "unknown_name") == before + 1
    name = "stranger" if path == "/stranger/x" else "gatewright"
    eventually(
        "the engine says which name it is",
        lambda: attached.gateway.find_records(
            message="request of an attached Envoy refused", name=name, reason="no API is attached to this name"
        ),
    )


def test_an_api_of_the_gateways_own_envoy_is_not_reached_by_another(attached: Attached, upstream: Upstream) -> None:
    attached.gateway.deploy(api("stranger", upstream.url, [GO]))
    with attached.client() as client:
        assert client.get("/stranger/x").status_code == 503
    attached.gateway.remove("stranger")


def test_bodies_are_rewritten_both_ways(attached: Attached, upstream: Upstream) -> None:
    deploy(attached, attach("rewrite-json", {"field": "seen", "value": True}))
    with attached.client() as client:
        answer = client.post("/shop/cups", json={"a": 1})
    assert answer.json()["seen"] is True
    assert upstream.received[0].body == b'{"a": 1, "seen": true}'


@pytest.mark.parametrize(
    "policies", [[GO], [attach("python-deny", {"headerName": "x-key"})]], ids=["both ways", "request"]
)
def test_bodies_that_no_policy_wants_pass_as_they_are(
    attached: Attached, upstream: Upstream, policies: list[Json]
) -> None:
    deploy(attached, *policies)
    body = bytes(range(256)) * 12_000
    upstream.reply = lambda request: Reply(200, [("x-upstream", "yes")], request.body)
    with attached.client() as client:
        for _ in range(3):
            answer = client.post("/shop/cups", content=body, headers={"x-key": "1"})
            assert (answer.status_code, answer.content == body) == (200, True)
        assert client.get("/shop/empty", headers={"x-key": "1"}).content == b""


def test_an_operation_without_policies_passes_and_others_are_not_there(attached: Attached, upstream: Upstream) -> None:
    deploy(
        attached,
        operations=[
            {"method": "POST", "path": "/open"},
            {"method": "GET", "path": "/closed", "policies": [attach("deny-headers")]},
        ],
    )
    body = b"x" * 300_000
    with attached.client() as client:
        assert client.post("/shop/open", content=body).status_code == 200
        assert client.get("/shop/closed").status_code == 403
        assert client.get("/shop/open").status_code == 405
        assert client.get("/shop/elsewhere").status_code == 404
    assert [request.body for request in upstream.received] == [body]


@pytest.mark.parametrize(
    "path",
    [
        "/shop/../stranger",
        "/shop//cups",
        "/shop/./cups",
        "/shop/%2e%2e/x",
        "/shop/%63ups",
        "/shop/a%2Fb",
        "/shop/a\\cups",
    ],
)
def test_a_path_that_the_other_envoy_has_not_normalized_is_refused(
    attached: Attached, upstream: Upstream, path: str
) -> None:
    deploy(attached, GO)
    answer = raw_request(attached.envoy.port, "localhost", path=path)
    assert (answer.status, upstream.received) == (400, [])


SHAPES = [
    Shape("headers with END_STREAM"),
    Shape("empty DATA or chunked", data=[b""], chunked=True),
    Shape("trailers without DATA", trailers=[("x-trailer", "t")]),
    Shape("DATA and trailers", data=[b"abc", b"def"], trailers=[("x-trailer", "t")]),
    Shape("HEAD", method="HEAD"),
    Shape("GET with a body", method="GET", data=[b"abc"]),
    Shape("8 MiB", data=[b"x" * 65536] * 128),
]


@pytest.mark.parametrize("send", [http1, http2])
def test_no_shape_of_a_request_passes_a_policy_by(
    attached: Attached, upstream: Upstream, send: Callable[[int, str, Shape], Answer]
) -> None:
    for policies, status in (([attach("deny-body", maxBodyBytes=1 << 25)], 403), ([GO], 200), ([], 200)):
        deploy(attached, *policies)
        upstream.reset()
        statuses = {shape.name: send(attached.envoy.port, "/shop/cups", shape).status for shape in SHAPES}
        assert statuses == {shape.name: status for shape in SHAPES}
        expected = [] if status == 403 else [b"".join(shape.data) for shape in SHAPES]
        assert [request.body for request in upstream.received] == expected
        assert all(request.value("x-go") == "1" for request in upstream.received) or not policies


def test_a_policy_changes_path_method_and_host(attached: Attached, upstream: Upstream) -> None:
    choice = {"path": "/shop/plates", "query": "n=1", "method": "PUT", "authority": "plates.example"}
    deploy(attached, attach("retarget", choice))
    with attached.client() as client:
        assert client.get("/shop/cups").status_code == 200
    (request,) = upstream.received
    assert (request.method, request.target, request.value("host")) == ("PUT", "/plates?n=1", "plates.example")


def test_a_stream_passes_its_policy_piece_by_piece(attached: Attached) -> None:
    deploy(attached, attach("mask-pii-stream"))
    with (
        StreamingUpstream() as slow,
        another_envoy(attached, urlsplit(slow.url).port or 0) as client,
        client.stream("GET", "/shop/s?pieces=3&gap=0.2") as answer,
    ):
        times = [time.monotonic() for piece in answer.iter_raw() if piece]
    assert len(times) == 3
    assert times[-1] - times[0] > 0.2


@pytest.mark.parametrize(
    ("side", "policy"), [("request", attach("rewrite-json")), ("response", PYTHON)], ids=["request", "response"]
)
def test_a_filter_that_keeps_a_message_from_its_policy_is_closed(
    attached: Attached, upstream: Upstream, side: str, policy: Json
) -> None:
    deploy(attached, policy)
    modes = {f"{side}_body_mode": "NONE", f"{side}_trailer_mode": "SKIP"}
    if side == "response":
        modes["response_header_mode"] = "SKIP"
    with another_envoy(attached, upstream.port, lambda c: ext_proc_of(c)["processing_mode"].update(modes)) as client:
        answer = client.post("/shop/cups", json={"a": 1})
    assert (answer.status_code, upstream.received) == (503, [])
    expected = f"{side}_body_mode of the attached Envoy: expected FULL_DUPLEX_STREAMED, got NONE"
    eventually(
        "the engine says which mode",
        lambda: any(
            expected in str(record.get("reason")) for record in attached.gateway.find_records(message="exchange failed")
        ),
    )


def test_without_its_engine_or_the_cluster_an_envoy_is_closed(attached: Attached, upstream: Upstream) -> None:
    deploy(attached, GO)

    def lose_cluster(config: Json) -> None:
        config["static_resources"]["clusters"].pop()

    with another_envoy(attached, upstream.port, lose_cluster) as client:
        assert [client.get("/shop/cups").status_code for _ in range(3)] == [503] * 3
    with attached_envoy(upstream.port, free_port()) as envoy:
        assert httpx.get(f"http://127.0.0.1:{envoy.port}/shop/cups").status_code == 503
        assert envoy.stat("http.web.ext_proc.streams_failed") == 1
    assert upstream.received == []


@pytest.mark.usefixtures("upstream")
def test_an_engine_that_is_killed_serves_again_and_is_never_passed_by(attached: Attached) -> None:
    deploy(attached, PYTHON)
    with attached.client() as client:
        assert client.get("/shop/cups").headers["x-python"] == "2"
        attached.gateway.kill("engine")
        statuses = []

        def is_back() -> bool:
            answer = client.get("/shop/cups")
            statuses.append(answer.status_code)
            assert answer.status_code != 200 or answer.headers["x-python"] == "2"
            return answer.status_code == 200

        eventually("the engine serves again", is_back)
    assert set(statuses) == {200, 503}, statuses


def test_envoys_show_certificates_where_they_must(build: Path, tmp_path: Path, upstream: Upstream) -> None:
    signer, port = authority(tmp_path), free_port()
    chain, key = signer.issue("engine", "localhost")
    own = client_certificate(signer, "envoy")
    options = {"listen": f"127.0.0.1:{port}", "certificate": chain, "key": key, "authority": signer.file}
    words = [word for name, value in options.items() for word in (f"--pe.attach-{name}", str(value))]
    with running(build, tmp_path / "state", *words) as gateway:
        gateway.deploy(attached_api("shop", ["shop"], [PYTHON], "/shop"))

        def files(config: Json, *, shown: bool) -> None:
            cluster = config["static_resources"]["clusters"][-1]
            address = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"]
            address["socket_address"]["address"] = "127.0.0.1"
            context = cluster["transport_socket"]["typed_config"]["common_tls_context"]
            context["validation_context"]["trusted_ca"]["filename"] = str(signer.file)
            (pair,) = context["tls_certificates"]
            pair["certificate_chain"] = {"filename": str(own.file)}
            pair["private_key"] = {"filename": str(own.key_file)}
            if not shown:
                del context["tls_certificates"]

        statuses = []
        for shown in (True, False):
            with attached_envoy(
                upstream.port, f"localhost:{port}", partial(files, shown=shown), options=["--tls"]
            ) as envoy:
                statuses.append(httpx.get(f"http://127.0.0.1:{envoy.port}/shop/cups").status_code)
    assert statuses == [200, 503]
    assert len(upstream.received) == 1
