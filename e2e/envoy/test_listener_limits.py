"""The limits and the access logs of a Gateway's listeners: the real Envoy with the controller's configuration, and one
upstream."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from concurrent import futures
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import h2.connection
import h2.events
import httpx
import pytest
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2

from e2e.envoy.lone_listeners import LoneListeners, lone_listeners
from e2e.kit.certificates import authority
from e2e.kit.gateway import eventually
from e2e.kit.raw_http import RefusedError, connected, receive_answer, request
from e2e.kit.upstream import Recorded, Reply, Upstream

pytestmark = pytest.mark.timeout(60)
otlp: Any = logs_service_pb2
SERVICE = "opentelemetry.proto.collector.logs.v1.LogsService"


@pytest.fixture(scope="module")
def limited_listeners(
    recording_upstream: Upstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LoneListeners]:
    spec = {
        "listeners": [
            {"name": "http"},
            {"name": "few", "port": 8081, "limits": {"connections": 2}},
            {"name": "slow", "port": 8082, "limits": {"connectionsPerSecond": 3}},
            {"name": "https", "port": 8443, "protocol": "https", "tls": {"certificates": ["main"]}},
        ],
        "limits": {
            "headerCount": 20, "headerBytes": 8192, "concurrentStreams": 7, "requestsPerConnection": 2
        },
        "timeouts": {"requestHeaders": "500ms", "handshake": "500ms", "connectionIdle": "1500ms"},
    }  # fmt: skip
    certificates = {"main": authority(tmp_path_factory.mktemp("limited")).issue("main", "127.0.0.1")}
    with lone_listeners(spec, recording_upstream.port, certificates) as listeners:
        yield listeners


def test_headers_are_limited(limited_listeners: LoneListeners) -> None:
    port = limited_listeners.ports["http"]
    assert request(port, headers={f"x-{n}": "1" for n in range(10)}).status == 200
    assert request(port, headers={f"x-{n}": "1" for n in range(30)}).status == 431
    assert request(port, headers={"x": "1" * 7000}).status == 200
    assert request(port, headers={"x": "1" * 9000}).status == 431


def test_requests_of_a_connection_are_limited(limited_listeners: LoneListeners) -> None:
    with connected(limited_listeners.ports["http"]) as connection:
        for last in (False, True):
            connection.sendall(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            assert (receive_answer(connection).headers.get("connection") == "close") is last
        assert connection.recv(1) == b""


def test_http2_clients_receive_the_limit_of_streams(limited_listeners: LoneListeners) -> None:
    with connected(limited_listeners.ports["http"]) as connection:
        http2 = h2.connection.H2Connection()
        http2.initiate_connection()
        connection.sendall(http2.data_to_send())
        while not (
            settings := [
                e for e in http2.receive_data(connection.recv(65536)) if isinstance(e, h2.events.RemoteSettingsChanged)
            ]
        ):
            pass
        assert settings
        assert http2.remote_settings.max_concurrent_streams == 7


def test_connections_of_a_listener_are_limited(limited_listeners: LoneListeners) -> None:
    connections = [connected(limited_listeners.ports["few"]) for _ in range(2)]
    for connection in connections:
        connection.sendall(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        assert receive_answer(connection).status == 200
    with pytest.raises(RefusedError):
        request(limited_listeners.ports["few"])
    assert request(limited_listeners.ports["http"]).status == 200
    for connection in connections:
        connection.close()
    eventually("there is room again", lambda: is_admitted(limited_listeners.ports["few"]))


def is_admitted(port: int) -> bool:
    try:
        return request(port).status == 200
    except RefusedError:
        return False


def test_new_connections_are_limited(limited_listeners: LoneListeners) -> None:
    begun = time.monotonic()
    with ThreadPoolExecutor(10) as clients:  # at once, or a slow machine would keep to the limit by itself
        answers = list(clients.map(is_admitted, [limited_listeners.ports["slow"]] * 10))
    most = 3 + 3 * int(time.monotonic() - begun + 1)
    assert 3 <= sum(answers) <= most
    assert not all(answers)
    eventually("one is admitted again", lambda: is_admitted(limited_listeners.ports["slow"]))


def test_the_rate_of_requests_of_a_connection_is_limited(upstream: Upstream) -> None:
    def statuses(connection: socket.socket, count: int) -> list[int]:
        received_statuses = []
        for _ in range(count):
            connection.sendall(b"GET /x HTTP/1.1\r\nhost: a\r\n\r\n")
            answer = receive_answer(connection)
            received_statuses.append(answer.status)
            if answer.status == 429:
                assert answer.headers["retry-after"] == "1"
                assert answer.headers["content-type"] == "application/problem+json"
                assert "x-envoy-ratelimited" not in answer.headers
        return received_statuses

    with (
        lone_listeners({"limits": {"requestsPerSecond": 2}}, upstream.port) as listeners,
        connected(listeners.ports["http"]) as connection,
        connected(listeners.ports["http"]) as other,
    ):
        begun = time.monotonic()
        received_statuses = statuses(connection, 20)
        most = 2 + 2 * int(time.monotonic() - begun + 1)
        assert received_statuses[:2] == [200] * 2
        assert 429 in received_statuses
        assert received_statuses.count(200) == len(upstream.received) <= most
        assert statuses(other, 2) == [200] * 2
        eventually("it may go on", lambda: statuses(connection, 1) == [200])


def test_slow_clients_are_disconnected(limited_listeners: LoneListeners) -> None:
    with connected(limited_listeners.ports["http"]) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n")
        assert receive_answer(connection).status == 408
    with connected(limited_listeners.ports["https"]) as connection:
        assert connection.recv(1) == b"", "expected a handshake that does not begin to end"
    with connected(limited_listeners.ports["http"]) as connection:
        assert connection.recv(1) == b"", "expected an idle connection to end"


# ---------------------------------------------------------------- access log and compression


class Collector:
    """An OTLP receiver, on a free port."""

    def __init__(self) -> None:
        self.records: list[dict[str, str]] = []
        export = grpc.unary_unary_rpc_method_handler(
            self._export,
            otlp.ExportLogsServiceRequest.FromString,
            otlp.ExportLogsServiceResponse.SerializeToString,
        )
        self._server = grpc.server(futures.ThreadPoolExecutor(2))
        self._server.add_registered_method_handlers(SERVICE, {"Export": export})
        self.port: int = self._server.add_insecure_port("127.0.0.1:0")

    def __enter__(self) -> Collector:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop(None).wait()

    def _export(self, request: Any, _: grpc.ServicerContext) -> Any:
        for resource in request.resource_logs:
            for scope in resource.scope_logs:
                for record in scope.log_records:
                    attributes = {attribute.key: attribute.value.string_value for attribute in record.attributes}
                    self.records.append({"body": record.body.string_value, **attributes})
        return otlp.ExportLogsServiceResponse()


def test_access_lines_have_the_chosen_fields_and_destination(upstream: Upstream, tmp_path: Path) -> None:
    fields = {
        "id": "requestId", "verb": "method", "url": "path", "status": "status", "agent": "requestHeader:User-Agent",
        "kind": "responseHeader:content-type", "at": "listener", "tls": "tlsVersion",
    }  # fmt: skip
    file = {"to": "file", "path": str(tmp_path / "text"), "format": "text"}
    with Collector() as collector:
        destinations = [{}, file, {"to": "otlp", "collector": f"127.0.0.1:{collector.port}"}]
        spec = {"accessLog": {"fields": fields, "destinations": destinations}}
        with lone_listeners(spec, upstream.port) as listeners:
            request(listeners.ports["http"], path="/a?b=%22", headers={"user-agent": 'me "and" you'})
            eventually("the collector has it", lambda: collector.records)
            eventually("stdout and file have it", lambda: listeners.lines() and (tmp_path / "text").read_text())
            line = json.loads(listeners.lines()[0])
    assert line.pop("time").endswith("Z")
    assert len(line.pop("id")) == 36
    assert line == {
        "level": "info", "component": "access", "message": "request", "verb": "GET", "url": "/a?b=%22", "status": 200,
        "agent": 'me "and" you', "kind": "application/json", "at": "http",
    }  # fmt: skip
    text = (tmp_path / "text").read_text()
    assert text.count("\n") == 1
    assert 'verb=GET url=/a?b=%22 status=200 agent=me "and" you kind=application/json at=http tls=-\n' in text
    (record,) = collector.records
    assert (record["body"], record["verb"], record["status"], record["at"]) == ("request", "GET", "200", "http")


def test_access_lines_may_be_off_or_sampled(upstream: Upstream) -> None:
    def failing(received: Recorded) -> Reply:
        return Reply(500 if received.target == "/fails" else 200)

    upstream.reply = failing
    with lone_listeners({"accessLog": {"sample": 0}}, upstream.port) as listeners:
        for path in ("/works", "/fails"):
            request(listeners.ports["http"], path=path)
        eventually("the error has a line", listeners.lines)
        assert [json.loads(line)["path"] for line in listeners.lines()] == ["/fails"]
    with lone_listeners({"accessLog": {"enabled": False}}, upstream.port) as listeners:
        request(listeners.ports["http"], path="/fails")
        dump = listeners.admin("/config_dump").text
        assert "/dev/stdout" not in dump


def test_responses_are_compressed_where_it_pays(upstream: Upstream) -> None:
    def sized(received: Recorded) -> Reply:
        kind = "image/png" if "png" in received.target else "text/plain; charset=utf-8"
        return Reply(200, [("content-type", kind)], b"x" * int(received.target.rsplit("/", 1)[1]))

    upstream.reply = sized
    spec = {"listeners": [{"name": "http", "compression": {"encodings": ["zstd", "gzip"], "minBytes": 500}}]}
    with lone_listeners(spec, upstream.port) as listeners:
        port = listeners.ports["http"]
        for accepted, path, encoding in (
            ("gzip", "/5000", "gzip"),
            ("gzip, zstd", "/5000", "zstd"),
            ("br", "/5000", ""),
            ("", "/5000", ""),
            ("gzip;q=0", "/5000", ""),
            ("gzip", "/400", ""),
            ("gzip", "/png/5000", ""),
        ):
            answer = httpx.get(f"http://127.0.0.1:{port}{path}", headers={"accept-encoding": accepted})
            assert answer.headers.get("content-encoding", "") == encoding, (accepted, path)
            if encoding == "gzip":
                assert answer.content == b"x" * 5000


def test_envoy_has_fields_that_our_protos_lack(limited_listeners: LoneListeners) -> None:
    """xds-protos knows no allow_content_length_header; what we send of it arrives."""
    assert '"allow_content_length_header": true' in limited_listeners.admin("/config_dump").text
