"""What we render, before the real Envoy: it accepts it, and does with requests what was meant.

Around the bundles stands what a node puts there: the tree of contexts, the ext_proc filter, an engine, an upstream.
"""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
import httpx
import msgspec
import pytest
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.route.v3 import route_components_pb2
from envoy.extensions.filters.http.ext_proc.v3 import ext_proc_pb2  # noqa: F401 - Any needs it to be known
from envoy.extensions.transport_sockets.tls.v3 import tls_pb2  # noqa: F401
from envoy.service.ext_proc.v3 import external_processor_pb2, external_processor_pb2_grpc
from gatewright_controller._gen import node_pb2
from gatewright_controller.model import GatewaySpec, Listener
from gatewright_controller.resource.definitions import Definitions
from gatewright_controller.translate import EdgeSettings, translate
from gatewright_controller.translate.envoy.host_groups import HostGroup
from gatewright_controller.translate.envoy.http_filters import http_filters
from gatewright_controller.validation import validate
from gatewright_documents.values import JsonObject
from gatewright_documents.yaml_reader import parse_yaml
from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message

pytestmark = pytest.mark.timeout(180)
TESTDATA = Path(__file__).parent.parent / "testdata"
SETTINGS = EdgeSettings(trusted_ca=str(TESTDATA / "ca.pem"))


TYPE = "type.googleapis.com/envoy"
HTTP = f"{TYPE}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
HTTP2 = f"{TYPE}.extensions.upstreams.http.v3.HttpProtocolOptions"
FILTERS = f"{TYPE}.extensions.filters.http"


def plain(message: Message) -> JsonObject:
    shown: JsonObject = json.loads(MessageToJson(message, preserving_proto_field_name=True))
    return shown


def bootstrap(bundles: Sequence[node_pb2.ApiBundle], listener: Path, ext_proc: Path) -> JsonObject:
    """A static bootstrap with the bundles' routes and clusters, placed as a node's engine places them."""
    shared = dict.fromkeys(cluster for bundle in bundles for cluster in bundle.clusters)
    clusters = [with_secrets(plain(cluster_pb2.Cluster.FromString(cluster))) for cluster in shared]
    manager = {
        "@type": HTTP,
        "stat_prefix": "test",
        "normalize_path": True,
        "route_config": {"name": "gatewright", "virtual_hosts": [virtual_host(bundles)]},
        "http_filters": [ext_proc_filter(), choice_filter(), {"name": "router", "typed_config": router()}],
    }
    filters = [{"name": "http", "typed_config": manager}]
    listeners = [{"address": {"pipe": {"path": str(listener)}}, "filter_chains": [{"filters": filters}]}]
    layer: JsonObject = {"name": "static", "static_layer": {"re2.max_program_size.error_level": 100000}}
    return {
        "node": {"id": "test", "cluster": "test"},
        "static_resources": {"listeners": listeners, "clusters": [*clusters, engine_cluster(ext_proc)]},
        "layered_runtime": {"layers": [layer]},
    }


def with_secrets(value: Any) -> Any:
    """Secrets have a stream of their own: with `ads`, Envoy's mode of validation ends in a segmentation fault."""
    services = [{"envoy_grpc": {"cluster_name": "engine"}}]
    stream = {"api_type": "DELTA_GRPC", "transport_api_version": "V3", "grpc_services": services}
    match value:
        case {"ads": {}, **rest}:
            return rest | {"api_config_source": stream}
        case dict():
            return {key: with_secrets(item) for key, item in value.items()}
        case list():
            return [with_secrets(item) for item in value]
    return value


def virtual_host(bundles: Sequence[node_pb2.ApiBundle]) -> JsonObject:
    lists = {bundle.context: {"action": route_list(bundle, bundles)} for bundle in bundles}
    path = {"@type": f"{TYPE}.type.matcher.v3.HttpRequestHeaderMatchInput", "header_name": ":path"}
    tree = {"input": {"name": "path", "typed_config": path}, "prefix_match_map": {"map": lists}}
    return {"name": "all", "domains": ["*"], "matcher": choices_before({"matcher_tree": tree}, bundles)}


def choices_before(tree: JsonObject, bundles: Sequence[node_pb2.ApiBundle]) -> JsonObject:
    """The tree with the routes of policies' choices before it, as the engine's choices.go builds it."""
    chosen = [route_components_pb2.Route.FromString(route) for bundle in bundles for route in bundle.chosen_routes]
    if not chosen:
        return tree
    lists: dict[str, JsonObject] = {}
    for route in chosen:
        says = route.metadata.filter_metadata["gatewright.choice"]
        routes = {"@type": f"{TYPE}.config.route.v3.RouteList", "routes": [plain(route)]}
        lists[f"{says['route']}/{says['upstream']}"] = {"action": {"name": "routes", "typed_config": routes}}
    kind = f"{TYPE}.extensions.matching.common_inputs.network.v3.FilterStateInput"
    found = {"name": "choice", "typed_config": {"@type": kind, "key": "gatewright.choice"}}
    has_choice = {"single_predicate": {"input": found, "value_match": {"contains": "/"}}}
    by_choice = {"matcher_tree": {"input": found, "exact_match_map": {"map": lists}}}
    first = {"predicate": has_choice, "on_match": {"matcher": by_choice}}
    return {"matcher_list": {"matchers": [first]}, "on_no_match": {"matcher": tree}}


def route_list(bundle: node_pb2.ApiBundle, bundles: Sequence[node_pb2.ApiBundle]) -> JsonObject:
    """The bundle's own routes, and behind them those of the shorter contexts: the tree knows no segment boundary."""
    candidates = [other for other in bundles if bundle.context.startswith(other.context)]
    ordered = sorted(candidates, key=lambda candidate: len(candidate.context), reverse=True)
    routes = [
        plain(route_components_pb2.Route.FromString(route))
        for candidate in ordered
        for route in ([candidate.first_route] if candidate.first_route else []) + list(candidate.routes)
    ]
    return {"name": "routes", "typed_config": {"@type": f"{TYPE}.config.route.v3.RouteList", "routes": routes}}


def ext_proc_filter() -> JsonObject:
    config = {
        "@type": f"{FILTERS}.ext_proc.v3.ExternalProcessor",
        "grpc_service": {"envoy_grpc": {"cluster_name": "engine"}},
        "request_attributes": ["xds.route_name"],
        "route_cache_action": "RETAIN",
        "message_timeout": "5s",
        "mutation_rules": {"allow_all_routing": True, "allow_envoy": True},
        "metadata_options": {"receiving_namespaces": {"untyped": ["gatewright.authority"]}},
    }
    return {"name": "envoy.filters.http.ext_proc", "disabled": True, "typed_config": config}


def choice_filter() -> JsonObject:
    """The filter as it is rendered; xds-protos has no message for it."""
    (made,) = (
        http_filter
        for http_filter in http_filters(HostGroup(Listener(name="http"), []), GatewaySpec())
        if http_filter["name"] == "gatewright.choice"
    )
    return made


def router() -> JsonObject:
    return {"@type": f"{FILTERS}.router.v3.Router", "suppress_envoy_headers": True}


def engine_cluster(path: Path) -> JsonObject:
    http2 = {"@type": HTTP2, "explicit_http_config": {"http2_protocol_options": {}}}
    endpoint = {"endpoint": {"address": {"pipe": {"path": str(path)}}}}
    return {
        "name": "engine",
        "type": "STATIC",
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": http2},
        "load_assignment": {"cluster_name": "engine", "endpoints": [{"lb_endpoints": [endpoint]}]},
    }


class Engine:
    """Stands for the policy engine: notes what it is sent, and lets requests say what a policy would change."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []
        """Route name and phase, in order."""

    def Process(  # noqa: N802 - gRPC's name
        self, messages: Iterator[external_processor_pb2.ProcessingRequest], _: grpc.ServicerContext
    ) -> Iterator[external_processor_pb2.ProcessingResponse]:
        route = ""
        for message in messages:
            phase = message.WhichOneof("request") or ""
            for attributes in message.attributes.values():
                route = attributes.fields["xds.route_name"].string_value or route
            self.seen.append((route, phase))
            yield self.answer(message, phase)

    def answer(
        self, message: external_processor_pb2.ProcessingRequest, phase: str
    ) -> external_processor_pb2.ProcessingResponse:
        answer = external_processor_pb2.ProcessingResponse()
        if phase in ("request_headers", "response_headers"):
            getattr(answer, phase).response.SetInParent()
        if phase == "request_headers":
            self.change(answer, {h.key: h.raw_value for h in message.request_headers.headers.headers})
        if phase in ("request_body", "response_body"):
            piece = getattr(message, phase)
            streamed = getattr(answer, phase).response.body_mutation.streamed_response
            streamed.body, streamed.end_of_stream = piece.body, piece.end_of_stream
        return answer

    def change(self, answer: external_processor_pb2.ProcessingResponse, headers: dict[str, bytes]) -> None:
        for wanted, name in (("x-set-path", ":path"), ("x-set-authority", ":authority")):
            if wanted in headers:
                option = answer.request_headers.response.header_mutation.set_headers.add(append_action=2)
                option.header.key, option.header.raw_value = name, headers[wanted]
        if "x-set-authority" in headers:
            chosen = {"value": headers["x-set-authority"].decode()}
            answer.dynamic_metadata.update({"gatewright.authority": chosen})


class Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        seen = {"method": self.command, "path": self.path, "host": self.headers["host"], "read": length}
        self.rfile.read(length)
        time.sleep(float(self.headers.get("x-hold") or 0))
        body = json.dumps({**seen, "headers": sorted(name.lower() for name in self.headers)}).encode()
        with contextlib.suppress(BrokenPipeError):  # a client that has given up
            self.send(body)

    def send(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_OPTIONS = answer  # noqa: N815 - the base class' names

    def log_message(self, *_: object) -> None:
        """Writes no log: the tests compare what they see."""


@pytest.fixture
def upstream() -> Iterator[int]:
    """The port of an upstream that answers with the request."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = Engine()
    server = grpc.server(futures.ThreadPoolExecutor(8))
    external_processor_pb2_grpc.add_ExternalProcessorServicer_to_server(engine, server)
    server.add_insecure_port(f"unix:{tmp_path / 'engine.sock'}")
    server.start()
    yield engine
    server.stop(0).wait(60)


@dataclass
class Gateway:
    """`envoy(bundles)` starts one and returns a client to it."""

    folder: Path
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def config(self, bundles: Sequence[node_pb2.ApiBundle]) -> Path:
        path = self.folder / "envoy.json"
        document = bootstrap(bundles, self.folder / "listener.sock", self.folder / "engine.sock")
        path.write_text(json.dumps(document))
        return path

    def command(self, bundles: Sequence[node_pb2.ApiBundle]) -> list[str]:
        options = ("--use-dynamic-base-id", "--concurrency", "1", "-l", "error")
        return ["envoy", "-c", str(self.config(bundles)), *options]

    def validate(self, bundles: Sequence[node_pb2.ApiBundle]) -> str:
        """What `envoy --mode validate` has to say against the bundles; empty if nothing."""
        command = [*self.command(bundles), "--mode", "validate"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        return done.stdout + done.stderr if done.returncode else ""

    def start(self, bundles: Sequence[node_pb2.ApiBundle]) -> httpx.Client:
        process = subprocess.Popen(self.command(bundles))
        self.running.append(process)
        listener = self.folder / "listener.sock"
        wait_until(lambda: listens(listener, process))
        transport = httpx.HTTPTransport(uds=str(listener))
        return httpx.Client(transport=transport, base_url="http://gateway", timeout=60)


def listens(path: Path, process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None, "Envoy ended"
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.02)


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    gateway = Gateway(tmp_path)
    yield gateway
    for process in gateway.running:
        process.terminate()
        process.wait(60)


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


def test_what_envoy_refuses_is_reported(gateway: Gateway, definitions: Definitions) -> None:
    """The check of the test above can fail."""
    made = bundle(api("a", "/", "http://127.0.0.1", [{"method": "GET", "path": "/"}]), definitions)
    made.clusters[0] = made.clusters[0].replace(b"127.0.0.1", b"300.0.0.1")
    assert "300.0.0.1" in gateway.validate([made])


@pytest.fixture
def client(gateway: Gateway, engine: Engine, upstream: int, definitions: Definitions) -> Iterator[httpx.Client]:
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


def test_another_method_gets_the_known_ones(client: httpx.Client, engine: Engine) -> None:
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


def test_the_upstream_gets_its_own_host_unless_a_policy_sets_another(client: httpx.Client, upstream: int) -> None:
    assert client.get("/orders/v1.0/7").json()["host"] == f"127.0.0.1:{upstream}"
    assert client.get("/x").json()["host"] == f"127.0.0.1:{upstream}"
    assert client.get("/orders/v1.0/7", headers={"x-set-authority": "other.example"}).json()["host"] == "other.example"


def test_nothing_of_ours_reaches_the_upstream(client: httpx.Client) -> None:
    assert not [name for name in client.get("/orders/v1.0/7").json()["headers"] if name.startswith("x-envoy")]


def test_a_slow_upstream_is_given_up(
    gateway: Gateway,
    upstream: int,
    definitions: Definitions,
    engine: Engine,  # noqa: ARG001
) -> None:
    settings = msgspec.structs.replace(SETTINGS, request_timeout_ms=50)
    document = api("a", "/", f"http://127.0.0.1:{upstream}", [{"method": "GET", "path": "/"}])
    slow = translate(validate(document, definitions, {}), definitions, settings).message
    with gateway.start([slow]) as client:
        assert client.get("/", headers={"x-hold": "0.5"}).status_code == 504
