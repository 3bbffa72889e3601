"""Facts of Envoy (docs/reference/envoy.md) that show in a whole gateway, and requests at the edges of HTTP."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from e2e.kit.gateway import Gateway, Json, api, attach, eventually, fresh_name, running
from e2e.kit.streams import OpenStreams
from e2e.kit.upstream import Reply, Upstream
from e2e.kit.wire import Answer, Shape, http1, http2, send_raw

GET = Shape("GET", "GET")
MARK = attach("mark", {"name": "m"})
UPGRADE = [("connection", "upgrade"), ("upgrade", "websocket"), ("sec-websocket-version", "13")]


@pytest.fixture(scope="module", autouse=True)
def apis(shared_gateway: Gateway, recording_upstream: Upstream) -> None:
    lengths = [attach("body-length"), attach("response-length")]
    for name, policies in {
        "f-bare": [],
        "f-headers": [MARK],
        "f-bodies": lengths,
        "f-denied": [attach("deny-headers")],
    }.items():
        shared_gateway.deploy(api(name, recording_upstream.url, policies))


def stats(gateway: Gateway) -> Json:
    statistics: Json = json.loads(gateway.admin("engine", "/stats"))
    return statistics


def exchanges(gateway: Gateway) -> Json:
    counters: Json = stats(gateway)["extProc"]
    return counters


def problem(answer: Answer) -> tuple[int, str]:
    """Status and title of an answer that must be application/problem+json."""
    assert answer.value("content-type") == "application/problem+json", answer
    document = json.loads(answer.body)
    assert document["status"] == answer.status
    return answer.status, document["title"]


def connect(gateway: Gateway) -> socket.socket:
    return socket.create_connection(("127.0.0.1", gateway.port), timeout=10)


# ---------------------------------------------------------------- routes


def test_4_a_path_that_a_policy_chose_meets_no_other_routes_policies(gateway: Gateway, upstream: Upstream) -> None:
    moved = {"method": "GET", "path": "/a", "policies": [attach("retarget", {"path": "/stays/b"})]}
    other = {"method": "GET", "path": "/b", "policies": [attach("deny-headers")]}
    gateway.deploy(api("stays", upstream.url, [], [moved, other]))
    assert httpx.get(f"{gateway.url}/stays/b").status_code == 403
    assert httpx.get(f"{gateway.url}/stays/a").status_code == 200
    assert [request.target for request in upstream.received] == ["/b"]


@pytest.mark.parametrize("path", ["/f-denied%2Fx", "/f-bare/..%2ff-denied/x", "/f-bare/%2e%2e%5cf-denied/x"])
def test_17_an_escaped_slash_bypasses_no_policy(gateway: Gateway, upstream: Upstream, path: str) -> None:
    assert http1(gateway.port, path, GET).status in {400, 404}
    loose = api("f-loose", upstream.url)
    loose["spec"]["strictPaths"] = False
    gateway.deploy(loose)
    answer = http1(gateway.port, path.replace("f-bare", "f-loose"), GET)
    assert answer.status in {307, 404}
    if answer.status == 307:
        location = (answer.value("location") or "").removeprefix("http://test.local")
        assert http1(gateway.port, location, GET).status == 403
    assert upstream.received == []


def test_14_envoys_own_headers_reach_neither_side(gateway: Gateway, upstream: Upstream) -> None:
    steering = [("x-envoy-retry-on", "5xx"), ("x-envoy-original-path", "/x"), ("x-envoy-upstream-rq-timeout-ms", "1")]
    steering += [("x-envoy-peer-metadata", "e30="), ("X-Gatewright-Route", "admin")]
    answer = http1(gateway.port, "/f-headers/x", Shape("steering", "GET", headers=steering))
    (request,) = upstream.received
    assert [name for name, _ in request.headers if name.startswith((b"x-envoy", b"x-gatewright"))] == []
    assert [name for name, _ in answer.headers if name.startswith("x-envoy")] == []


# ---------------------------------------------------------------- requests at the edges


UNDERSCORED = Shape("_", "GET", headers=[("x_order", "forged"), ("x-plain", "1")])


def test_a_header_that_an_upstream_may_take_for_another_is_refused(gateway: Gateway, upstream: Upstream) -> None:
    assert problem(http1(gateway.port, "/f-headers/x", UNDERSCORED)) == (400, "Bad Request")
    assert http2(gateway.port, "/f-headers/x", UNDERSCORED).reset
    assert upstream.received == []


@pytest.mark.parametrize(("setting", "seen"), [("drop", None), ("allow", "forged")])
def test_an_operator_may_let_such_requests_in(
    build: Path, tmp_path: Path, upstream: Upstream, setting: str, seen: str | None
) -> None:
    with running(build, tmp_path, "--underscored-headers", setting) as gateway:
        gateway.deploy(api("f-underscored", upstream.url, [MARK]))
        for send in (http1, http2):
            assert send(gateway.port, "/f-underscored/x", UNDERSCORED).status == 200
            request = upstream.received.pop()
            assert (request.value("x_order"), request.value("x-order"), request.value("x-plain")) == (seen, "m()", "1")


def test_an_unrequested_101_ends_the_exchange_and_nothing_passes_behind_it(gateway: Gateway) -> None:
    """Envoy hands it on; what an upstream sends behind it is no response, and the connection to it ends."""
    with switching_upstream() as port:
        gateway.deploy(api("f-switches", f"http://127.0.0.1:{port}"))
        with connect(gateway) as client:
            client.sendall(b"GET /f-switches/x HTTP/1.1\r\nhost: t\r\n\r\n")
            assert client.recv(1 << 16).startswith(b"HTTP/1.1 101 ")
            client.sendall(b"GET /f-denied/x HTTP/1.1\r\nhost: t\r\n\r\n")
            assert client.recv(1 << 16).startswith(b"HTTP/1.1 403 ")


@contextmanager
def switching_upstream() -> Iterator[int]:
    """Answers one request with 101 and what could be a response to another one."""

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(1 << 16)
            connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            while connection.recv(1 << 16):
                pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


@pytest.mark.parametrize(
    ("name", "status"), [("f-bare", 200), ("f-headers", 200), ("f-bodies", 200), ("f-denied", 403)]
)
def test_14_a_client_that_expects_100_gets_it_whatever_policies_say(
    gateway: Gateway, upstream: Upstream, name: str, status: int
) -> None:
    head = (
        f"POST /{name}/x HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\nconnection: close\r\ncontent-length: 3\r\n\r\n"
    )
    with connect(gateway) as connection:
        connection.sendall(head.encode())
        assert connection.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"abc")
        assert connection.recv(12) == f"HTTP/1.1 {status}".encode()
    assert [request.body for request in upstream.received] == ([b"abc"] if status == 200 else [])


def test_10_a_websocket_is_refused_where_a_body_is_wanted_and_does_not_hang(
    gateway: Gateway, upstream: Upstream
) -> None:
    before = exchanges(gateway)
    answer = http1(gateway.port, "/f-bodies/x", Shape("upgrade", "GET", headers=UPGRADE))
    assert problem(answer) == (403, "Forbidden")
    assert exchanges(gateway)["failed"] == before["failed"], "a client's wish is no fault of ours"
    assert upstream.received == []


@pytest.mark.parametrize(
    ("request_", "status", "title"),
    [
        (b"GET /f-headers/x HTTP/1.0\r\nhost: a\r\n\r\n", 426, "Upgrade Required"),
        (b"NONSENSE\r\n\r\n", 400, "Bad Request"),
        (b"GET /f-headers/x HTTP/1.1\r\nhost: a\r\nx-a: b\x00c\r\n\r\n", 400, "Bad Request"),
        (b"POST /f-headers/x HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
         400, "Bad Request"),
        (b"GET /f-headers/x HTTP/1.1\r\nhost: a\r\n" + b"x-a: b\r\n" * 256 + b"\r\n",
         431, "Request Header Fields Too Large"),
        (b"GET /f-headers/x HTTP/1.1\r\nhost: a\r\nx-a: " + b"b" * (256 << 10) + b"\r\n\r\n",
         431, "Request Header Fields Too Large"),
    ],
    ids=["HTTP/1.0", "nonsense", "NUL", "two lengths", "257 headers", "256 KiB of headers"],
)  # fmt: skip
def test_19_malformed_requests_are_answered_with_a_problem(
    gateway: Gateway, upstream: Upstream, request_: bytes, status: int, title: str
) -> None:
    answer = send_raw(gateway.port, request_)
    assert problem(answer) == (status, title)
    detail = "The request was refused before it was read."
    assert json.loads(answer.body) == {"type": "about:blank", "title": title, "status": status, "detail": detail}
    assert upstream.received == []


@pytest.mark.parametrize(
    ("request_", "title"),
    [
        (b"GET /f-bare/x HTTP/1.1\r\n\r\n", "Bad Request"),
        (b"GET /f-bare/%00 HTTP/1.1\r\nhost: a\r\n\r\n", "Bad Request"),
        (b"POST /f-bare/x HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", "Bad Request"),
        (b"GET /f-bare/x HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: foo\r\n\r\n", "Forbidden"),
        (b"DELETE /f-bare/x HTTP/1.1\r\nhost: a\r\n\r\n", "Method Not Allowed"),
    ],
    ids=["no host", "NUL in the path", "broken chunk", "upgrade", "method"],
)
def test_19_refusals_without_a_response_flag_are_problems_too(gateway: Gateway, request_: bytes, title: str) -> None:
    answer = send_raw(gateway.port, request_)
    assert problem(answer)[1] == title
    known = {"Bad Request": "broken chunk" in str(answer), "Forbidden": True, "Method Not Allowed": True}[title]
    assert "requestId" in json.loads(answer.body) or not known


@pytest.mark.parametrize(("path", "status"), [("/nowhere", "12"), ("/f-dead/x", "14"), ("/f-headers/x", "8")])
def test_19_to_a_grpc_client_envoys_own_answers_are_statuses(gateway: Gateway, path: str, status: str) -> None:
    gateway.deploy(api("f-dead", "http://127.0.0.1:1"))
    many = [(f"x-{n}", "v") for n in range(110)] if path == "/f-headers/x" else []
    call = Shape(
        "gRPC", headers=[("content-type", "application/grpc"), ("te", "trailers"), *many], data=[b"\0\0\0\0\0"]
    )
    answer = http2(gateway.port, path, call)
    assert (answer.status, answer.value("grpc-status")) == (200, status)
    assert answer.value("grpc-message")


def test_over_http2_too_many_headers_end_the_stream(gateway: Gateway, upstream: Upstream) -> None:
    for headers in ([(f"x-{n}", "v") for n in range(270)], [("x-big", "v" * (257 << 10))]):
        answer = http2(gateway.port, "/f-headers/x", Shape("large", "GET", headers=headers))
        assert answer.reset or answer.status == 431
    assert upstream.received == []


def test_90_headers_and_59_kib_pass(gateway: Gateway, upstream: Upstream) -> None:
    for headers in ([(f"x-{n}", "v") for n in range(90)], [("x-big", "v" * (59 << 10))]):
        assert http1(gateway.port, "/f-headers/x", Shape("large", "GET", headers=headers)).status == 200
        assert set(headers) <= {(k.decode(), v.decode()) for k, v in upstream.received[-1].headers}


def test_two_host_headers_are_refused(gateway: Gateway, upstream: Upstream) -> None:
    """Envoy joins them: without our check, upstream and policies would see a host "a,b"."""
    for path in (b"/f-headers/x", b"/f-bare/x", b"/nowhere"):
        answer = send_raw(gateway.port, b"GET " + path + b" HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n")
        assert problem(answer) == (400, "Bad Request")
        assert json.loads(answer.body)["detail"] == "The request has two Host headers."
        assert send_raw(gateway.port, b"GET " + path + b" HTTP/1.1\r\nhost: a, b\r\n\r\n").status == 400
    handshake = b"connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\r\n"
    answer = send_raw(gateway.port, b"GET /f-bare/x HTTP/1.1\r\nhost: a\r\nhost: b\r\n" + handshake)
    assert problem(answer) == (400, "Bad Request")
    assert upstream.received == []


def test_an_absolute_request_target_meets_the_same_policies(gateway: Gateway, upstream: Upstream) -> None:
    assert send_raw(gateway.port, b"GET http://b.test/f-headers/x?q HTTP/1.1\r\nhost: a\r\n\r\n").status == 200
    (request,) = upstream.received
    assert (request.target, request.value("x-order")) == ("/x?q", "m()")
    assert send_raw(gateway.port, b"GET http://b.test/f-denied/x HTTP/1.1\r\nhost: a\r\n\r\n").status == 403


# ---------------------------------------------------------------- answers at the edges


@pytest.mark.parametrize("when", ["request", "response"])
@pytest.mark.parametrize("status", [299, 418, 499, 599])
def test_a_status_outside_of_envoys_enum_passes(gateway: Gateway, upstream: Upstream, status: int, when: str) -> None:
    gateway.deploy(api("f-status", upstream.url, [attach("answer", {"status": status, "body": "hello", "when": when})]))
    for client in (http1, http2):
        answer = client(gateway.port, "/f-status/x", GET)
        assert (answer.status, answer.body, answer.value("x-answered")) == (status, b"hello", when)
        head = client(gateway.port, "/f-status/x", Shape("HEAD", "HEAD"))
        assert (head.status, head.body, head.value("content-length")) == (status, b"", "5")


@pytest.mark.parametrize("status", [0, 100, 199, 600, -1, 2**31])
def test_an_invalid_status_is_the_policys_fault(gateway: Gateway, upstream: Upstream, status: int) -> None:
    gateway.deploy(api("f-status", upstream.url, [attach("answer", {"status": status})]))
    assert problem(http1(gateway.port, "/f-status/x", GET)) == (500, "Internal Server Error")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_may_have_no_body(gateway: Gateway, upstream: Upstream, status: int, method: str) -> None:
    for when in ("request", "response"):
        policy = attach("answer", {"status": status, "body": "hello", "when": when})
        gateway.deploy(api("f-status", upstream.url, [policy]))
        for client in (http1, http2):
            answer = client(gateway.port, "/f-status/x", Shape(method, method))
            assert (answer.status, answer.body, answer.value("content-length")) == (status, b"", None)


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304), ("HEAD", 304)])
def test_response_policies_see_responses_without_a_body(
    gateway: Gateway, upstream: Upstream, method: str, status: int
) -> None:
    upstream.reply = lambda _: Reply(status, [("etag", '"1"')], b"body")
    for client in (http1, http2):
        headers = client(gateway.port, "/f-headers/x", Shape(method, method))
        assert (headers.status, headers.body, headers.value("x-order")) == (status, b"", "m()")
        bodies = client(gateway.port, "/f-bodies/x", Shape(method, method))
        assert (bodies.status, bodies.body, bodies.value("x-response-length")) == (status, b"", "0")
        assert bodies.value("content-length") == ("4" if status == 200 else None)


def test_15_to_a_grpc_client_an_answer_is_a_status_and_a_message(gateway: Gateway, upstream: Upstream) -> None:
    call = Shape("gRPC", headers=[("content-type", "application/grpc"), ("te", "trailers")], data=[b"\0\0\0\0\0"])
    answer = http2(gateway.port, "/f-denied/x", call)
    assert (answer.status, answer.body) == (200, b"")
    assert (answer.value("grpc-status"), answer.value("grpc-message")) == ("7", "denied")
    assert upstream.received == []


# ---------------------------------------------------------------- time


def test_12_more_exchanges_are_open_at_once_than_envoys_default_allows(gateway: Gateway, upstream: Upstream) -> None:
    with ExitStack() as stack:
        groups = [stack.enter_context(OpenStreams(gateway.port, "/f-bodies/x", 100)) for _ in range(11)]
        eventually("all are in the engine", lambda: exchanges(gateway)["active"] >= 1100, 20)
        statuses = [status for group in groups for status in group.end_bodies()]
    assert statuses == [200] * 1100
    assert len(upstream.received) == 1100


@pytest.mark.parametrize("client", ["HTTP/1.1", "HTTP/2"])
def test_nothing_more_runs_for_a_client_that_has_gone(gateway: Gateway, upstream: Upstream, client: str) -> None:
    slow = attach(
        "sleep", {"seconds": 1.5}, timeout="9s"
    )  # longer than a busy machine needs to notice that it has gone
    name = fresh_name(f"f-gone-{client[-1]}")
    gateway.deploy(api(name, upstream.url, [slow, attach("mark", {"name": "after"})]))
    before = exchanges(gateway)
    asleep = f"asleep: /{name}/x"
    leaving = OpenStreams(gateway.port, f"/{name}/x", 1) if client == "HTTP/2" else connect(gateway)
    with leaving as connection:
        if isinstance(connection, socket.socket):
            connection.sendall(f"GET /{name}/x HTTP/1.1\r\nhost: a\r\n\r\n".encode())
        eventually("the policy runs", lambda: gateway.find_records(message=asleep))
    eventually("it is cancelled", lambda: exchanges(gateway)["cancelled"] == before["cancelled"] + 1)
    eventually(
        "the policy has ended", lambda: all(executor["underWay"] == 0 for executor in stats(gateway)["executors"])
    )
    assert executions(gateway, name) == {"sleep:v1.0.0": 1, "mark:v1.0.0": 0}
    assert exchanges(gateway)["failed"] == before["failed"]
    assert upstream.received == []


def executions(gateway: Gateway, name: str) -> dict[str, int]:
    """How often each policy ran in all operations of the API."""
    executions_of_policies: dict[str, int] = {}
    for policy in stats(gateway)["policies"]:
        if policy["api"] == name:
            executions_of_policies[policy["policy"]] = (
                executions_of_policies.get(policy["policy"], 0) + policy["executions"]
            )
    return executions_of_policies


@contextmanager
def hasty_upstream() -> Iterator[str]:
    """The URL of an upstream that answers as soon as it has seen a request's headers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=_answer_hastily, args=(server,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}"
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join(5)


def _answer_hastily(server: socket.socket) -> None:
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        with connection:
            data = b""
            while b"\r\n\r\n" not in data:
                data += connection.recv(1 << 16)
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nearly")
            while connection.recv(1 << 16):
                pass


@pytest.mark.parametrize(
    "policies",
    [
        [],
        [MARK],
        [attach("response-length")],
        [attach("body-length", maxBodyBytes=1000, onError="continue"), attach("response-length")],
    ],
    ids=["none", "headers", "response body", "both bodies, the request's too large"],
)
def test_an_answer_may_come_before_the_request_has_ended(gateway: Gateway, policies: list[Json]) -> None:
    before = exchanges(gateway)["failed"]
    with hasty_upstream() as url:
        gateway.deploy(api("f-hasty", url, policies))
        with connect(gateway) as connection:
            connection.sendall(
                b"POST /f-hasty/x HTTP/1.1\r\nhost: a\r\ncontent-length: 300000\r\n\r\n" + b"x" * 100_000
            )
            data = b""
            while not data.endswith(b"early"):
                data += connection.recv(1 << 16)
        assert data.startswith(b"HTTP/1.1 200 ")
        assert (b"x-response-length: 5" in data) == any(policy["name"] == "response-length" for policy in policies)
        eventually("the exchange is over", lambda: exchanges(gateway)["active"] == 0)
    assert exchanges(gateway)["failed"] == before


def test_5_a_path_inside_the_context_is_rewritten_like_any_other(gateway: Gateway, upstream: Upstream) -> None:
    gateway.deploy(api("f-inside", f"{upstream.url}/base", [attach("retarget", {"path": "/f-inside/c"})]))
    assert httpx.get(f"{gateway.url}/f-inside/a").status_code == 200
    assert [request.target for request in upstream.received] == ["/base/c"]
