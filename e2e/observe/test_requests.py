"""Requests that the controller sends to its gateway: through the real Envoy, recorded, and explained."""

from __future__ import annotations

import base64
import contextlib
import socket
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from e2e.kit.closed_port import closed_port
from e2e.kit.gateway import Gateway, Json, api, attach
from e2e.kit.secured import add_tls_listener
from e2e.kit.upstream import Reply, Upstream

pytestmark = pytest.mark.timeout(120)
NAME = "requested"


@contextlib.contextmanager
def deploy_for_a_while(gateway: Gateway, document: Json) -> Iterator[None]:
    gateway.deploy(document)
    try:
        yield
    finally:
        gateway.remove(document["metadata"]["name"])


@pytest.fixture
def path(gateway: Gateway, upstream: Upstream) -> Iterator[str]:
    """A path of an API with a policy of each kind, which no other exchange has."""
    policies = [
        attach("add-headers", {"requestHeaders": [{"name": "x-added", "value": "1"}]}),
        attach("sleep", {"seconds": 0}),
    ]
    with deploy_for_a_while(gateway, api(NAME, upstream.url, policies)):
        yield f"/{NAME}/{uuid.uuid4()}"


def send_request(gateway: Gateway, **members: object) -> httpx.Response:
    with gateway.controller() as client:
        return client.post("/v1/requests", json=members, timeout=60)


def answer(gateway: Gateway, **members: object) -> Json:
    response = send_request(gateway, **members)
    assert response.status_code == 200, response.text
    document: Json = response.json()
    return document


def exchange(gateway: Gateway, document: Json) -> Json:
    """The exchange that the answer names."""
    assert document["recorded"] is True, document
    with gateway.controller() as client:
        response = client.get(f"/v1/exchanges/{document['requestId']}")
    assert response.status_code == 200, response.text
    exchange: Json = response.json()
    return exchange


def test_a_request_is_sent_and_explained(gateway: Gateway, upstream: Upstream, path: str) -> None:
    upstream.reply = lambda request: Reply(
        201, [("x-a", "1"), ("content-type", "text/plain")], b"<" + request.body + b">"
    )
    headers = [["X-User", "ann"], ["authorization", "Bearer s3cret"]]
    document = answer(gateway, method="POST", path=f"{path}?q=1", headers=headers, body={"text": "grüße"})
    assert (document["status"], document["protocol"], document["listener"]) == (201, "HTTP/1.1", "http")
    assert document["body"] == {"size": 9, "text": "<grüße>"}
    assert ["x-a", "1"] in document["headers"]

    (received,) = upstream.to(path.removeprefix(f"/{NAME}"))
    assert (received.method, received.body) == ("POST", "grüße".encode())
    assert (received.value("x-user"), received.value("authorization"), received.value("x-added")) == (
        "ann",
        "Bearer s3cret",
        "1",
    )
    own = {"x-request-id", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "host", "content-length"}
    assert {name.decode() for name, _ in received.headers} - own == {"x-user", "authorization", "x-added"}

    recorded_exchange = exchange(gateway, document)
    assert recorded_exchange["id"] == received.value("x-request-id")
    assert (recorded_exchange["request"]["path"], recorded_exchange["request"]["query"]) == (path, "q=1")
    assert ["authorization", "[redacted]"] in recorded_exchange["request"]["headers"]
    assert [execution["policy"].partition(":")[0] for execution in recorded_exchange["executions"]] == [
        "add-headers",
        "sleep",
        "add-headers",
    ]


def test_bytes_pass_in_both_directions(gateway: Gateway, upstream: Upstream, path: str) -> None:
    content = bytes(range(256)) * 1000
    upstream.reply = lambda request: Reply(200, [], request.body)
    document = answer(gateway, method="POST", path=path, body={"base64": base64.b64encode(content).decode()})
    assert base64.b64decode(document["body"]["base64"]) == content
    assert document["body"]["size"] == len(content)


def test_a_large_answer_is_cut_and_ends(gateway: Gateway, upstream: Upstream, path: str) -> None:
    upstream.reply = lambda _: Reply(200, [], b"x" * 3_000_000)
    document = answer(gateway, path=path)
    assert document["body"]["size"] == 3_000_000
    assert document["body"]["truncated"] is True
    assert len(document["body"]["text"]) == 1 << 20
    assert exchange(gateway, document)["outcome"] == "completed"


def test_a_request_without_a_route_is_explained(gateway: Gateway) -> None:
    document = answer(gateway, path=f"/{uuid.uuid4()}")
    assert (document["status"], document["recorded"]) == (404, False)
    assert document["requestId"]
    assert document["notRecorded"].startswith("no policy runs for it")


def test_an_api_without_policies_has_no_exchange(gateway: Gateway, upstream: Upstream) -> None:
    with deploy_for_a_while(gateway, api("unwatched", upstream.url)):
        document = answer(gateway, path="/unwatched/x")
    assert (document["status"], document["recorded"]) == (200, False)
    assert document["notRecorded"].startswith("no policy runs for it")


def test_a_refusal_of_a_policy_is_recorded(gateway: Gateway, upstream: Upstream) -> None:
    with deploy_for_a_while(gateway, api("raising", upstream.url, [attach("raise-error")])):
        document = answer(gateway, path="/raising/x")
        recorded_exchange = exchange(gateway, document)
    assert document["status"] == 500
    assert recorded_exchange["executions"][0]["failure"]["class"] == "exception"
    assert document["requestId"] in document["body"]["text"]


def test_an_upstream_that_is_away_is_explained(gateway: Gateway) -> None:
    with (
        closed_port() as port,
        deploy_for_a_while(gateway, api("nobody", f"http://127.0.0.1:{port}", [attach("pass-on")])),
    ):
        document = answer(gateway, path="/nobody/x")
        assert document["status"] == 503
        assert exchange(gateway, document)["response"]["status"] == 503


def test_an_upstream_that_does_not_answer_in_time_is_explained(gateway: Gateway) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with deploy_for_a_while(gateway, api("mute", url, [attach("pass-on")])):
            response = send_request(gateway, path="/mute/x", seconds=1)
    assert response.status_code == 504
    assert "the answer had not begun after 1 s; " in response.json()["detail"]
    assert f"curl -i -X GET {gateway.url}/mute/x" in response.json()["detail"]


def test_a_client_that_does_not_wait_ends_the_request(gateway: Gateway) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with deploy_for_a_while(gateway, api("left", url, [attach("pass-on")])):
            with gateway.controller() as client, client.stream("GET", "/healthz"):
                raw = socket.create_connection((client.base_url.host, client.base_url.port or 0))
                body = b'{"path": "/left/x", "seconds": 120}'
                token = client.headers["authorization"]
                head = (
                    f"POST /v1/requests HTTP/1.1\r\nhost: a\r\nauthorization: {token}\r\ncontent-type: application/json"
                )
                raw.sendall(f"{head}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)
            connection, _ = silent.accept()
            with connection:
                connection.settimeout(30)
                assert connection.recv(65536).startswith(b"GET /x ")
                raw.close()
                assert connection.recv(1) == b"", "expected the gateway to let the upstream go"


def test_a_request_to_a_listener_with_tls_is_sent(
    gateway: Gateway, upstream: Upstream, path: str, tmp_path: Path
) -> None:
    with add_tls_listener(gateway, tmp_path):
        document = answer(gateway, path=path, listener="https", host="localhost")
        assert (document["status"], document["listener"]) == (200, "https")
        assert upstream.received[-1].value("x-forwarded-proto") == "https"
        assert exchange(gateway, document)["request"]["authority"] == "localhost"
        assert send_request(gateway, path=path, listener="other").json()["errors"] == [
            {"field": "listener", "message": "expected one of http or https, got 'other'"}
        ]


def test_a_client_without_the_token_sends_no_request(gateway: Gateway, upstream: Upstream, path: str) -> None:
    with gateway.controller() as client:
        response = httpx.post(f"{client.base_url}/v1/requests", json={"path": path})
    assert response.status_code == 401
    assert not upstream.received
