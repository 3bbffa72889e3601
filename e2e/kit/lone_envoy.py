"""An Envoy from the bootstrap that ships, with the routes and the engine of a test: for facts about Envoy itself."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from string import Template
from typing import Any

import grpc
import httpx
import yaml
from envoy.service.ext_proc.v3 import external_processor_pb2 as ext_proc
from envoy.service.ext_proc.v3 import external_processor_pb2_grpc as ext_proc_grpc

from e2e.kit.gateway import Json, eventually
from e2e.kit.places import ROOT
from e2e.kit.upstream import Upstream

BOOTSTRAP = ROOT / "gateway-runtime" / "envoy" / "bootstrap.yaml"
LISTENER = BOOTSTRAP.with_name("listener.json")
PER_ROUTE = "type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExtProcPerRoute"
HEADERS = "SEND NONE SKIP SKIP NONE SKIP"
HEADERS_BOTH_WAYS = "SEND NONE SKIP SEND NONE SKIP"
BODY = "SEND FULL_DUPLEX_STREAMED SEND SKIP NONE SKIP"
MODES = (
    "request_header_mode", "request_body_mode", "request_trailer_mode",
    "response_header_mode", "response_body_mode", "response_trailer_mode",
)  # fmt: skip

Messages = Iterator[Any]
Script = Callable[[Messages, grpc.ServicerContext], Iterator[Any]]


class Engine(ext_proc_grpc.ExternalProcessorServicer):  # type: ignore[misc] # the package has no types
    """An engine that runs the script named by the first segment of an exchange's path, and records the messages."""

    def __init__(self, **scripts: Script) -> None:
        self.scripts = scripts
        self.kinds: list[str] = []
        self.messages: list[Any] = []

    def Process(self, request_iterator: Messages, context: grpc.ServicerContext) -> Iterator[Any]:  # noqa: N802
        messages = self._recorded(request_iterator)
        first = next(messages)
        headers = {header.key: header.raw_value.decode() for header in first.request_headers.headers.headers}
        name = headers.get(":path", "/refused").split("/")[1]
        yield from self.scripts[name](prepend(first, messages), context)

    def _recorded(self, messages: Messages) -> Messages:
        for message in messages:
            self.kinds.append(message.WhichOneof("request"))
            self.messages.append(message)
            yield message


def prepend(first: Any, rest: Messages) -> Messages:
    yield first
    yield from rest


def continue_unchanged(kind: str) -> Any:
    """The answer to a message that changes nothing."""
    if kind.endswith("trailers"):
        return ext_proc.ProcessingResponse(**{kind: ext_proc.TrailersResponse()})
    return ext_proc.ProcessingResponse(**{kind: ext_proc.HeadersResponse()})


def continue_with_headers(status: str = "CONTINUE", body: bytes | None = None, **headers: str) -> Any:
    """Request headers with changes; "append_" before a name appends, by append_action alone. _ stands for -."""
    mutation = ext_proc.HeaderMutation()
    for key, value in headers.items():
        option = mutation.set_headers.add()
        option.header.key = key.removeprefix("append_").replace("_", "-").replace("pseudo-", ":")
        option.header.raw_value = value.encode()
        option.append_action = 0 if key.startswith("append_") else 2
    common = ext_proc.CommonResponse(status=status, header_mutation=mutation)
    if body is not None:
        common.body_mutation.body = body
    return ext_proc.ProcessingResponse(request_headers=ext_proc.HeadersResponse(response=common))


def streamed_piece(body: bytes, last: bool) -> Any:
    streamed = ext_proc.StreamedBodyResponse(body=body, end_of_stream=last)
    common = ext_proc.CommonResponse(body_mutation=ext_proc.BodyMutation(streamed_response=streamed))
    return ext_proc.ProcessingResponse(request_body=ext_proc.BodyResponse(response=common))


def immediate_response(status: int = 403, body: bytes = b"denied") -> Any:
    answer = ext_proc.ImmediateResponse(body=body)
    answer.status.code = status
    return ext_proc.ProcessingResponse(immediate_response=answer)


# ---------------------------------------------------------------- Envoy


def route(name: str, modes: str | None, cluster: str = "upstream", **overrides: object) -> Json:
    """The route of /NAME/ with these ext_proc modes (`HEADERS`), None for none; the answer names the route."""
    action = {"cluster": cluster, "timeout": overrides.pop("timeout", "5s")}
    mark = {"header": {"key": "x-route", "value": name}}
    document: Json = {
        "name": name,
        "match": {"prefix": f"/{name}/"},
        "route": action,
        "response_headers_to_add": [mark],
    }
    if modes is not None:
        mode = dict(zip(MODES, modes.split(), strict=True))
        per_route = {"@type": PER_ROUTE, "overrides": {"processing_mode": mode, **overrides}}
        document["typed_per_filter_config"] = {"envoy.filters.http.ext_proc": per_route}
    return document


def bootstrap(directory: Path) -> Json:
    """The one that ships, its fields filled in with sockets in the directory, and the listener of a Gateway that says
    nothing, on a free port.
    """
    fields = {"node_id": "lone", "max_connections": "1000", "envoy_heap_bytes": str(1 << 30)}
    sockets = {f"{name}_socket": str(directory / name) for name in ("admin", "ext_proc", "xds", "challenges")}
    document: Json = yaml.safe_load(Template(BOOTSTRAP.read_text()).substitute(fields | sockets))
    listener = json.loads(LISTENER.read_text().replace("/dev/stdout", "/dev/null"))
    listener["address"]["socket_address"]["port_value"] = 0
    document["static_resources"]["listeners"] = [listener]
    return document


def connection_manager(config: Json) -> Json:
    document: Json = config["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][-1]["typed_config"]
    return document


def ext_proc_filter(config: Json) -> Json:
    filters = connection_manager(config)["http_filters"]
    document: Json = next(
        http_filter for http_filter in filters if http_filter["name"] == "envoy.filters.http.ext_proc"
    )["typed_config"]
    return document


def add_static_routes(config: Json, routes: list[Json], upstream: Upstream) -> Json:
    """The configuration without xDS: these routes instead, to the cluster `upstream` or to `nowhere`."""
    del config["dynamic_resources"], connection_manager(config)["rds"]
    hosts = [{"name": "all", "domains": ["*"], "routes": routes}]
    connection_manager(config)["route_config"] = {"name": "static", "virtual_hosts": hosts}
    config["static_resources"]["clusters"] += [cluster("upstream", upstream.port), cluster("nowhere", 9)]
    return config


def cluster(name: str, port: int) -> Json:
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": address}}]}]
    return {"name": name, "type": "STATIC", "load_assignment": {"cluster_name": name, "endpoints": endpoints}}


class LoneEnvoy:
    """A running Envoy with one worker thread."""

    def __init__(self, directory: Path, config: Json, program: str = "envoy") -> None:
        self._admin = directory / "admin"
        file = directory / "envoy.yaml"
        file.write_text(yaml.safe_dump(config))
        self._listening = directory / "listening"  # Envoy writes it when its admin socket listens
        options = ["--concurrency", "1", "--use-dynamic-base-id", "--log-level", "error"]
        options += ["--admin-address-path", str(self._listening)]
        self._process = subprocess.Popen([program, "-c", str(file), *options])

    def admin(self, path: str) -> httpx.Response:
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(self._admin)), base_url="http://admin") as client:
            return client.get(path)

    def wait_ready(self) -> LoneEnvoy:
        eventually("Envoy is ready", lambda: self.answers() and self.admin("/ready").status_code == 200, 20)
        listeners = self.admin("/listeners?format=json").json()["listener_statuses"]
        self.port: int = listeners[0]["local_address"]["socket_address"]["port_value"]
        return self

    def answers(self) -> bool:
        """Whether its admin socket answers."""
        assert self._process.poll() is None, "Envoy has ended: see its words above"
        return self._listening.exists()

    def ended(self) -> int | None:
        """Its exit status; None while it runs."""
        return self._process.poll()

    def stat(self, name: str) -> int:
        lines = self.admin(f"/stats?filter={name}").text.splitlines()
        return sum(int(line.rsplit(" ", 1)[1]) for line in lines)

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


@contextmanager
def lone_envoy(
    upstream: Upstream, engine: Engine, routes: list[Json], change: Callable[[Json], None] = lambda _: None
) -> Iterator[LoneEnvoy]:
    """Runs an Envoy with these routes and this engine; `change` may change the configuration."""
    with tempfile.TemporaryDirectory(prefix="gw-") as name:
        directory = Path(name)
        config = add_static_routes(bootstrap(directory), routes, upstream)
        change(config)
        server = grpc.server(ThreadPoolExecutor(8))
        ext_proc_grpc.add_ExternalProcessorServicer_to_server(engine, server)
        server.add_insecure_port(f"unix:{directory / 'ext_proc'}")
        server.start()
        envoy = LoneEnvoy(directory, config)
        try:
            yield envoy.wait_ready()
        finally:
            envoy.stop()
            server.stop(None).wait()
