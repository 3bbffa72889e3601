"""Responses that no policy sees are recorded on request, and pass unchanged."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import uuid
from concurrent import futures

import grpc
import httpx
import pytest

from e2e.kit.closed_port import closed_port
from e2e.kit.commands import run_tail
from e2e.kit.gateway import Gateway, Json, api, attach, eventually
from e2e.kit.grpc_calls import Calls
from e2e.kit.recorded import record_exchanges, wait_for_exchanges
from e2e.kit.targets import targets
from e2e.kit.upgrading import SWITCHED, WEBSOCKET, RawUpstream, Socket, upgrade_request
from e2e.kit.upstream import Reply, Upstream

WITHOUT_WAIT = attach("sleep", {"seconds": 0})
CHAINS: dict[str, list[Json]] = {
    "headers": [WITHOUT_WAIT],
    "buffers": [WITHOUT_WAIT, attach("body-length")],
    "streams": [attach("pass-on")],
    "both": [attach("body-length"), attach("pass-on")],
}
"""Chains of policies that see requests alone."""
SHOWN = ("completed", "upstream")


@pytest.fixture(params=CHAINS)
def name(request: pytest.FixtureRequest, gateway: Gateway, upstream: Upstream) -> str:
    """An API of such a chain."""
    api_name = f"shown-{request.param}"
    gateway.deploy(api(api_name, upstream.url, CHAINS[request.param]))
    return api_name


def path_of(name: str) -> str:
    """A path that no other exchange has."""
    return f"/{name}/{uuid.uuid4()}"


def outcome_of(exchange: Json) -> tuple[str, str]:
    return exchange["outcome"], exchange["answeredBy"]


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_the_response_is_recorded_and_passes_as_it_is(
    gateway: Gateway, upstream: Upstream, name: str, method: str
) -> None:
    upstream.reply = lambda _: Reply(404, [("x-made", "1"), ("x-made", "2"), ("set-cookie", "a=b")], b"x" * 100_000)
    path, content = path_of(name), b"y" * 100_000 if method == "POST" else None

    def answered() -> tuple[int, list[tuple[str, str]], bytes]:
        answer = httpx.request(method, gateway.url + path, content=content)
        mine = {"date", "x-request-id"}
        return (
            answer.status_code,
            [line for line in answer.headers.multi_items() if line[0] not in mine],
            answer.content,
        )

    unwatched = answered()
    with record_exchanges(gateway, path=path, status="4xx"):
        assert answered() == unwatched
        (exchange,) = wait_for_exchanges(gateway, path=path)
    assert outcome_of(exchange) == SHOWN
    assert exchange["response"]["status"] == exchange["upstreamResponse"]["status"] == 404
    assert [value for header, value in exchange["response"]["headers"] if header == "x-made"] == ["1", "2"]
    assert ["set-cookie", "[redacted]"] in exchange["response"]["headers"]
    assert 0 < exchange["forwarded"]["atMs"] <= exchange["response"]["atMs"] <= exchange["durationMs"]


def test_tail_shows_the_status(gateway: Gateway, upstream: Upstream, name: str) -> None:
    upstream.reply = lambda _: Reply(201)
    with run_tail(gateway, "--api", name) as tail:
        assert httpx.post(f"{gateway.url}/{name}/x", content=b"body").status_code == 201
        assert "  201  " in tail.line()


def test_errors_of_the_upstream_are_found(gateway: Gateway, upstream: Upstream, name: str) -> None:
    path = path_of(name)
    with record_exchanges(gateway, path=path, errors=True):
        for status in (200, 502, 404):
            upstream.reply = lambda _, status=status: Reply(status)  # type: ignore[misc]
            assert httpx.post(gateway.url + path, content=b"body").status_code == status
        upstream.reply = lambda _: Reply(503)
        assert httpx.post(gateway.url + path, content=b"body").status_code == 503
        exchanges = wait_for_exchanges(gateway, 2, path=path)
    assert [exchange["response"]["status"] for exchange in exchanges] == [502, 503]


@pytest.mark.parametrize("chain", CHAINS)
def test_an_upstream_that_is_away_is_found(gateway: Gateway, chain: str) -> None:
    with closed_port() as port:
        gateway.deploy(api("away", f"http://127.0.0.1:{port}", CHAINS[chain]))
        path = path_of("away")
        with record_exchanges(gateway, path=path, status="503"):
            assert httpx.post(gateway.url + path, content=b"body").status_code == 503
            (exchange,) = wait_for_exchanges(gateway, path=path)
    assert exchange["response"]["status"] == 503


def test_a_request_that_was_sent_again_has_one_response(gateway: Gateway) -> None:
    with targets("good", "bad") as (good, bad):
        bad.status = 503
        retries = {"method": "GET", "path": "/*", "retries": {"perTryTimeout": "5s"}}
        document = api("again", "", [WITHOUT_WAIT], [retries])
        pool = {"targets": [{"url": bad.url}, {"url": good.url}], "loadBalancing": {"algorithm": "roundRobin"}}
        document["spec"]["upstream"] = {"main": pool | {"ejection": {"consecutiveGatewayErrors": 0}}}
        gateway.deploy(document)
        path = path_of("again")
        with record_exchanges(gateway, path=path):
            for _ in range(4):
                assert httpx.get(gateway.url + path).status_code == 200
            exchanges = wait_for_exchanges(gateway, 4, path=path)
        assert bad.count >= 2
    assert [(outcome_of(exchange), exchange["response"]["status"]) for exchange in exchanges] == [(SHOWN, 200)] * 4


def test_an_informational_response_is_not_recorded_as_the_response(gateway: Gateway) -> None:
    """103, and then the answer."""
    early = b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"
    bare = RawUpstream()
    bare.answer = early + b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
    gateway.deploy(api("early", bare.url, [WITHOUT_WAIT]))
    path = path_of("early")
    with record_exchanges(gateway, path=path):
        answer = httpx.get(gateway.url + path)
        (exchange,) = wait_for_exchanges(gateway, path=path)
    assert (answer.status_code, answer.content) == (200, b"ok")
    assert (outcome_of(exchange), exchange["response"]["status"]) == (SHOWN, 200)


def test_a_websocket_opens_and_its_exchange_ends(gateway: Gateway) -> None:
    bare = RawUpstream()
    bare.answer = SWITCHED
    gateway.deploy(api("switches", bare.url, [WITHOUT_WAIT]))
    path = path_of("switches")
    with record_exchanges(gateway, path=path), Socket(gateway, upgrade_request(path, WEBSOCKET)) as client:
        assert client.head().startswith(b"HTTP/1.1 101 ")
        (exchange,) = wait_for_exchanges(gateway, path=path)
        client.send(b"there and back")
        assert client.read(14) == b"there and back"
    assert (outcome_of(exchange), exchange["response"]["status"]) == (SHOWN, 101)


@pytest.mark.parametrize("chain", CHAINS)
def test_grpc_calls_with_trailers_alone_pass(gateway: Gateway, chain: str) -> None:
    server, calls = grpc.server(futures.ThreadPoolExecutor(4)), Calls(failures=1)
    server.add_generic_rpc_handlers((calls,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    gateway.deploy(
        api("calls", f"grpc://127.0.0.1:{port}", CHAINS[chain], [{"method": "POST", "path": "/s.S/{method}"}])
    )
    method = f"M{uuid.uuid4().hex}"
    with record_exchanges(gateway, api="calls"), grpc.insecure_channel(f"127.0.0.1:{gateway.port}") as channel:
        call = channel.unary_unary(f"/calls/s.S/{method}", bytes, bytes)
        with pytest.raises(grpc.RpcError) as failed:
            call(b"x", timeout=10)
        assert failed.value.code() is grpc.StatusCode.UNAVAILABLE
        assert call(b"x", timeout=10) == b"x2"
        only, answered = wait_for_exchanges(gateway, 2, path=f"/calls/s.S/{method}")
    server.stop(0).wait()
    assert [outcome_of(only), outcome_of(answered)] == [SHOWN, SHOWN]
    assert ["grpc-status", "14"] in only["response"]["headers"]
    assert "grpc-status" not in [header for header, _ in answered["response"]["headers"]]


def test_a_client_that_does_not_wait_ends_the_exchange(gateway: Gateway) -> None:
    silent = socket.create_server(("127.0.0.1", 0))
    with silent:
        gateway.deploy(api("silent", f"http://127.0.0.1:{silent.getsockname()[1]}", [WITHOUT_WAIT]))
        path = path_of("silent")
        with record_exchanges(gateway, path=path):
            with Socket(gateway, upgrade_request(path, [])):
                connection, _ = silent.accept()
                assert connection.recv(1)
            (exchange,) = wait_for_exchanges(gateway, path=path)
            connection.close()
    assert exchange["outcome"] == "cancelled"
    assert "response" not in exchange


def test_a_response_that_comes_before_the_request_has_gone_is_not_held(gateway: Gateway) -> None:
    """The client sends the rest of its body when it has the answer's head: it would wait for ever."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            connection, _ = listener.accept()
            with connection:
                data = b""
                while b"first" not in data:
                    data += connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhead\r\n")
                while b"second" not in data:
                    data += connection.recv(65536)
                connection.sendall(b"4\r\nrest\r\n0\r\n\r\n")

    with listener:
        threading.Thread(target=serve, daemon=True).start()
        gateway.deploy(api("talks", f"http://127.0.0.1:{listener.getsockname()[1]}", CHAINS["streams"]))
        path = path_of("talks")
        head = f"POST {path} HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n".encode()
        with record_exchanges(gateway, path=path), Socket(gateway, head) as client:
            assert client.head().startswith(b"HTTP/1.1 200 ")
            client.send(b"6\r\nsecond\r\n0\r\n\r\n")
            data = b""
            while b"rest" not in data:
                more = client.read(1)
                assert more, f"expected the rest, got the end behind {data!r}"
                data += more
            (exchange,) = wait_for_exchanges(gateway, path=path)
    assert (outcome_of(exchange), exchange["response"]["status"]) == (SHOWN, 200)


def test_responses_are_not_sent_to_the_engine_without_a_recording(
    gateway: Gateway, upstream: Upstream, name: str
) -> None:
    """The exchange ends with its request, long before the answer is there."""
    released = threading.Event()

    def late(_: object) -> Reply:
        eventually("the exchange has ended", lambda: _active(gateway, name) == 0)
        released.set()
        return Reply(200)

    upstream.reply = late
    assert httpx.post(f"{gateway.url}/{name}/x", content=b"body", timeout=30).status_code == 200
    assert released.is_set()


def _active(gateway: Gateway, name: str) -> int:
    chains = json.loads(gateway.admin("engine", "/chains"))
    return sum(chain["active"] for chain in chains if chain["api"] == name)
