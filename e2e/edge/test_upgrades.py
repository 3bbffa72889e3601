"""Requests for another protocol: a WebSocket opens where no policy wants a body, and no request bypasses a policy."""

from __future__ import annotations

import json
import time

import h2.config
import h2.connection
import h2.events
import pytest

from e2e.kit.gateway import Gateway, Json, api, attach, eventually
from e2e.kit.upgrading import CRLF, SMUGGLED, SWITCHED, WEBSOCKET, RawUpstream, Socket, upgrade_request
from e2e.kit.upstream import Upstream
from e2e.kit.wire import send_raw

pytestmark = pytest.mark.in_envoy_too

TRICKS: dict[str, list[bytes]] = {
    "websocket": WEBSOCKET,
    "in capitals": [b"Connection: UPGRADE", b"Upgrade: WebSocket"],
    "one of several in Connection": [b"connection: keep-alive, upgrade", b"upgrade: websocket"],
    "Connection twice": [b"connection: keep-alive", b"connection: upgrade", b"upgrade: websocket"],
    "one of several in Upgrade": [b"connection: upgrade", b"upgrade: websocket, foo"],
    "Upgrade twice": [b"connection: upgrade", b"upgrade: foo", b"upgrade: websocket"],
    "a version": [b"connection: upgrade", b"upgrade: websocket/13"],
    "anything": [b"connection: upgrade", b"upgrade: foo"],
    "CONNECT by upgrade": [b"connection: upgrade", b"upgrade: CONNECT"],
    "connect-udp by upgrade": [b"connection: upgrade", b"upgrade: connect-udp"],
    "HTTP/2 in clear": [b"connection: upgrade, http2-settings", b"upgrade: h2c", b"http2-settings: AAMAAABkAAQAAP__"],
    "without Connection": [b"upgrade: websocket"],
    "without Upgrade": [b"connection: upgrade"],
    "Upgrade named hop-by-hop": [b"connection: upgrade, upgrade, close", b"upgrade: websocket"],
    "with a length": [*WEBSOCKET, b"content-length: 3"],
    "chunked": [*WEBSOCKET, b"transfer-encoding: chunked"],
}
"""Lines of requests that ask for another protocol, or look like it."""


@pytest.fixture(scope="module")
def raw_upstream(shared_gateway: Gateway) -> RawUpstream:
    upstream = RawUpstream()
    times = {"requestTimeout": "1s", "idleTimeout": "3s"}
    for name, policies in {
        "u-none": [],
        "u-headers": [attach("mark", {"name": "m"}, timeout="1s")],
        "u-denied": [attach("deny-headers", timeout="1s")],
    }.items():
        document = api(name, upstream.url, policies)
        document["spec"] |= times
        shared_gateway.deploy(document)
    return upstream


@pytest.fixture(autouse=True)
def _reset(raw_upstream: RawUpstream) -> None:
    raw_upstream.answer, raw_upstream.behind = SWITCHED, b""
    raw_upstream.heads.clear()


# ------------------------------------------------------------------ routes whose policies want a body


@pytest.fixture(scope="module")
def guarded_gateway(shared_gateway: Gateway, recording_upstream: Upstream) -> Gateway:
    """APIs whose policies want the body and refuse every request, and one whose policy wants the answer's body."""
    for name, policies in {
        "u-body": [attach("deny-body")],
        "u-body-too": [attach("mark", {"name": "m"}), attach("deny-body")],
        "u-answer": [attach("response-length")],
        "u-crashes": [attach("body-length", onError="continue")],
    }.items():
        shared_gateway.deploy(api(name, recording_upstream.url, policies))
    return shared_gateway


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("lines", TRICKS.values(), ids=TRICKS)
@pytest.mark.parametrize("name", ["u-body", "u-body-too"])
def test_no_upgrade_bypasses_a_policy_that_wants_the_body(
    guarded_gateway: Gateway, upstream: Upstream, name: str, lines: list[bytes], method: str
) -> None:
    """A request that is none for another protocol is one like any other: its body is waited for, and it is denied."""
    request = upgrade_request(f"/{name}/x", [*lines, b"" if b"content-length: 3" in lines else b"x-more: 1"], method)
    end = b"abc" if b"content-length: 3" in lines else b"0\r\n\r\n" if b"transfer-encoding: chunked" in lines else b""
    answer = send_raw(guarded_gateway.port, request.replace(CRLF * 3, CRLF * 2) + end + SMUGGLED)
    assert answer.status == 403 or (answer.status == 404 and b"CONNECT-UDP" in answer.body)
    assert upstream.received == []


@pytest.mark.parametrize("name", ["u-answer", "u-crashes"])
@pytest.mark.parametrize("trick", ["websocket", "in capitals", "one of several in Connection", "Connection twice"])
def test_no_websocket_opens_where_a_policy_wants_a_body(
    guarded_gateway: Gateway, upstream: Upstream, name: str, trick: str
) -> None:
    answer = send_raw(guarded_gateway.port, upgrade_request(f"/{name}/x", TRICKS[trick]) + SMUGGLED)
    assert (answer.status, answer.value("content-type")) == (403, "application/problem+json")
    assert json.loads(answer.body)["detail"] == "No connection is upgraded to this protocol here."
    assert upstream.received == []


def test_the_log_has_the_reason_and_the_client_does_not(guarded_gateway: Gateway) -> None:
    answer = send_raw(guarded_gateway.port, upgrade_request("/u-answer/why", WEBSOCKET))
    assert b"response-length" not in answer.body

    def lines() -> list[Json]:
        return guarded_gateway.find_records(message="upgrade refused", path="/u-answer/why")

    eventually("the access log has the reason", lines)
    (line,) = lines()
    assert (line["level"], line["component"], line["upgrade"]) == ("warning", "access", "websocket")
    assert line["reason"] == "bodies are wanted by response-length:v1.0.0 (responseBodyMode: BUFFER)"


def test_connect_is_refused(guarded_gateway: Gateway, upstream: Upstream, raw_upstream: RawUpstream) -> None:
    for target in ("u-none:80", "127.0.0.1:80"):
        request = f"CONNECT {target} HTTP/1.1\r\nhost: {target}\r\n\r\n".encode()
        assert send_raw(guarded_gateway.port, request + SMUGGLED).status == 404
    for path in ("/u-none/x", "/u-body/x"):
        assert send_raw(guarded_gateway.port, upgrade_request(path, [], "CONNECT")).status in {400, 404}
    assert (upstream.received, raw_upstream.heads) == ([], [])


@pytest.mark.parametrize("protocol", [None, "websocket", "foo", "connect-udp"])
@pytest.mark.parametrize("path", ["/u-none/x", "/u-body/x"])
def test_connect_is_refused_over_http2(
    guarded_gateway: Gateway, upstream: Upstream, raw_upstream: RawUpstream, path: str, protocol: str | None
) -> None:
    """A tunnel, and what RFC 8441 makes of CONNECT. It is not offered, and the stream or the connection ends."""
    extended = [(":protocol", protocol), (":path", path), (":scheme", "http")] if protocol else []
    connection = h2.connection.H2Connection(h2.config.H2Configuration(validate_outbound_headers=False))
    connection.initiate_connection()
    connection.send_headers(1, [(":method", "CONNECT"), (":authority", "test.local"), *extended])
    connection.send_data(1, SMUGGLED)
    with Socket(guarded_gateway, connection.data_to_send()) as client:
        events_seen: list[str] = []
        while not {"StreamReset", "ConnectionTerminated", "ResponseReceived"}.intersection(events_seen):
            data = client.read(9) or b""
            if not data:
                break
            size = int.from_bytes(data[:3], "big")
            events = connection.receive_data(data + client.read(size))
            events_seen += [type(event).__name__ for event in events]
            heads = [event.headers for event in events if isinstance(event, h2.events.ResponseReceived)]
            assert all(int(dict(head)[b":status"]) >= 400 for head in heads)
    assert (upstream.received, raw_upstream.heads) == ([], [])


# ------------------------------------------------------------------ routes where one opens


@pytest.mark.parametrize("name", ["u-none", "u-headers"])
def test_early_data_waits_for_the_upstreams_switch(gateway: Gateway, raw_upstream: RawUpstream, name: str) -> None:
    """Else an upstream that goes on in HTTP would take it for a request that has met its policies."""
    raw_upstream.answer = b""
    with Socket(gateway, upgrade_request(f"/{name}/x", WEBSOCKET) + SMUGGLED) as client:
        client.rest()
    assert (len(raw_upstream.heads), raw_upstream.behind) == (1, b"")


@pytest.mark.parametrize("name", ["u-none", "u-headers"])
@pytest.mark.parametrize("status", ["200 OK", "426 Upgrade Required", "401 Unauthorized"])
def test_an_upstream_that_does_not_switch_gets_no_more(
    gateway: Gateway, raw_upstream: RawUpstream, name: str, status: str
) -> None:
    raw_upstream.answer = f"HTTP/1.1 {status}\r\nx-said: this\r\ncontent-length: 2\r\n\r\nno".encode()
    with Socket(gateway, upgrade_request(f"/{name}/x", WEBSOCKET) + SMUGGLED) as client:
        head = client.head()
        assert head.startswith(f"HTTP/1.1 {status}".encode())
        assert b"x-said: this" in head
        client.send(SMUGGLED)
        client.rest()
    assert (len(raw_upstream.heads), raw_upstream.behind) == (1, b"")


def test_header_policies_run_on_the_handshake(gateway: Gateway, raw_upstream: RawUpstream) -> None:
    with Socket(gateway, upgrade_request("/u-headers/x", WEBSOCKET) + b"early") as client:
        head = client.head()
        assert head.startswith(b"HTTP/1.1 101 ")
        assert b"x-order: m()" in head
        assert client.read(5) == b"early"
        client.send(b"later")
        assert client.read(5) == b"later"
    assert b"x-order: m()" in raw_upstream.heads[0]
    assert raw_upstream.behind == b"earlylater"


def test_a_header_policy_may_answer_the_handshake(gateway: Gateway, raw_upstream: RawUpstream) -> None:
    answer = send_raw(gateway.port, upgrade_request("/u-denied/x", WEBSOCKET) + SMUGGLED)
    assert (answer.status, answer.value("x-denied-by")) == (403, "deny-headers")
    assert raw_upstream.heads == []


@pytest.mark.parametrize("method", ["POST", "OPTIONS"])
def test_a_websocket_begins_as_a_get(gateway: Gateway, raw_upstream: RawUpstream, method: str) -> None:
    assert send_raw(gateway.port, upgrade_request("/u-none/x", WEBSOCKET, method)).status == 403
    assert raw_upstream.heads == []


@pytest.mark.parametrize("name", ["u-none", "u-headers"])
def test_an_upgrade_of_http2_in_clear_is_a_request_like_any_other(
    gateway: Gateway, raw_upstream: RawUpstream, name: str
) -> None:
    """RFC 9113, 3.1: it may be ignored. Its headers do not go upstream, where a server might not ignore them."""
    raw_upstream.answer = b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n"
    assert send_raw(gateway.port, upgrade_request(f"/{name}/x", TRICKS["HTTP/2 in clear"])).status == 204
    assert b"upgrade" not in raw_upstream.heads[0].lower()
    assert b"http2-settings" not in raw_upstream.heads[0].lower()


@pytest.mark.usefixtures("raw_upstream")
def test_a_websocket_lives_while_data_flows_and_ends_when_idle(gateway: Gateway) -> None:
    """requestTimeout is 1 s, idleTimeout 3 s: no timeout of a request counts for a connection that is upgraded."""
    with Socket(gateway, upgrade_request("/u-headers/x", WEBSOCKET)) as client:
        assert client.head().startswith(b"HTTP/1.1 101 ")
        for _ in range(3):
            time.sleep(1.2)  # longer than requestTimeout, and all of them than idleTimeout
            client.send(b"moves")
            assert client.read(5) == b"moves"
        assert client.rest() == b""
    eventually(
        "the upstream's connection has ended too", lambda: gateway.envoy_stat("u-headers.*upstream_rq_active") == 0
    )


def test_an_upstream_that_does_not_answer_a_handshake_is_late(gateway: Gateway, raw_upstream: RawUpstream) -> None:
    """By requestTimeout, as for any request: its end is that of the handshake."""
    raw_upstream.answer = b""
    assert send_raw(gateway.port, upgrade_request("/u-none/x", WEBSOCKET)).status == 504
