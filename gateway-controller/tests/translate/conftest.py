"""The real Envoy, with what a node puts around bundles: the tree of contexts, the disabled ext_proc filter, an upstream."""

from __future__ import annotations

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

import grpc
import httpx
import pytest
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.route.v3 import route_components_pb2
from envoy.extensions.filters.http.ext_proc.v3 import ext_proc_pb2  # noqa: F401 - Any needs it to be known
from envoy.extensions.transport_sockets.tls.v3 import tls_pb2  # noqa: F401
from envoy.service.ext_proc.v3 import external_processor_pb2, external_processor_pb2_grpc
from gatewright_controller._gen import node_pb2
from gatewright_controller.model import JsonObject
from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message

TYPE = "type.googleapis.com/envoy"
HTTP = f"{TYPE}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
HTTP2 = f"{TYPE}.extensions.upstreams.http.v3.HttpProtocolOptions"
FILTERS = f"{TYPE}.extensions.filters.http"


def plain(message: Message) -> JsonObject:
    shown: JsonObject = json.loads(MessageToJson(message, preserving_proto_field_name=True))
    return shown


def bootstrap(bundles: Sequence[node_pb2.ApiBundle], listener: Path, ext_proc: Path) -> JsonObject:
    """A static bootstrap with the bundles' routes and clusters, placed as a node's engine places them."""
    clusters = [plain(cluster_pb2.Cluster.FromString(one)) for bundle in bundles for one in bundle.clusters]
    manager = {
        "@type": HTTP,
        "stat_prefix": "test",
        "normalize_path": True,
        "route_config": {"name": "gatewright", "virtual_hosts": [virtual_host(bundles)]},
        "http_filters": [ext_proc_filter(), {"name": "router", "typed_config": router()}],
    }
    filters = [{"name": "http", "typed_config": manager}]
    listeners = [{"address": {"pipe": {"path": str(listener)}}, "filter_chains": [{"filters": filters}]}]
    return {"static_resources": {"listeners": listeners, "clusters": [*clusters, engine_cluster(ext_proc)]}}


def virtual_host(bundles: Sequence[node_pb2.ApiBundle]) -> JsonObject:
    lists = {bundle.context: {"action": route_list(bundle, bundles)} for bundle in bundles}
    path = {"@type": f"{TYPE}.type.matcher.v3.HttpRequestHeaderMatchInput", "header_name": ":path"}
    tree = {"input": {"name": "path", "typed_config": path}, "prefix_match_map": {"map": lists}}
    return {"name": "all", "domains": ["*"], "matcher": {"matcher_tree": tree}}


def route_list(bundle: node_pb2.ApiBundle, bundles: Sequence[node_pb2.ApiBundle]) -> JsonObject:
    """The bundle's own routes, and behind them those of the shorter contexts: the tree knows no segment boundary."""
    above = [one for one in bundles if bundle.context.startswith(one.context)]
    ordered = sorted(above, key=lambda one: len(one.context), reverse=True)
    routes = [plain(route_components_pb2.Route.FromString(route)) for one in ordered for route in one.routes]
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


class Engine(external_processor_pb2_grpc.ExternalProcessorServicer):
    """Stands for the policy engine: notes what it is sent, and lets requests say what a policy would change."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []
        """Route name and phase, in order."""

    def Process(  # noqa: N802 - gRPC's name
        self, messages: Iterator[Message], context: grpc.ServicerContext
    ) -> Iterator[Message]:
        route = ""
        for message in messages:
            phase = message.WhichOneof("request") or ""
            for attributes in message.attributes.values():
                route = attributes.fields["xds.route_name"].string_value or route
            self.seen.append((route, phase))
            yield self.answer(message, phase)

    def answer(self, message: Message, phase: str) -> Message:
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

    def change(self, answer: Message, headers: dict[str, bytes]) -> None:
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
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_OPTIONS = answer  # noqa: N815 - the base class' names

    def log_message(self, *_: object) -> None:
        """Nothing: the tests say what they see."""


@pytest.fixture
def upstream() -> Iterator[int]:
    """The port of an upstream that answers with what it was asked."""
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
    server.stop(0).wait(5)


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
        return httpx.Client(transport=transport, base_url="http://gateway", timeout=10)


def listens(path: Path, process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None, "Envoy ended"
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> None:
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
        process.wait(10)
