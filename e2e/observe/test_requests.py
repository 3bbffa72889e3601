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
from e2e.kit.secured import secured
from e2e.kit.upstream import Reply, Upstream

pytestmark = pytest.mark.timeout(120)
NAME = "requested"


@contextlib.contextmanager
def deployed(gateway: Gateway, document: Json) -> Iterator[None]:
    gateway.deploy(document)
    try:
        yield
    finally:
        gateway.remove(document["metadata"]["name"])


@pytest.fixture
def path(gateway: Gateway, upstream: Upstream) -> Iterator[str]:
    """Of an API with a policy of each kind; no other exchange has it."""
    policies = [
        attach("add-headers", {"requestHeaders": [{"name": "x-added", "value": "1"}]}),
        attach("sleep", {"seconds": 0}),
    ]
    with deployed(gateway, api(NAME, upstream.url, policies)):
        yield f"/{NAME}/{uuid.uuid4()}"


def sent(gateway: Gateway, **members: object) -> httpx.Response:
    with gateway.controller() as client:
        return client.post("/v1/requests", json=members, timeout=60)


def answer(gateway: Gateway, **members: object) -> Json:
    found = sent(gateway, **members)
    assert found.status_code == 200, found.text
    told: Json = found.json()
    return told


def exchange(gateway: Gateway, told: Json) -> Json:
    """The one that the answer names."""
    assert told["recorded"] is True, told
    with gateway.controller() as client:
        found = client.get(f"/v1/exchanges/{told['requestId']}")
    assert found.status_code == 200, found.text
    exchange: Json = found.json()
    return exchange


def test_a_request_is_sent_and_explained(gateway: Gateway, upstream: Upstream, path: str) -> None:
    upstream.reply = lambda request: Reply(
        201, [("x-a", "1"), ("content-type", "text/plain")], b"<" + request.body + b">"
    )
    headers = [["X-User", "ann"], ["authorization", "Bearer s3cret"]]
    told = answer(gateway, method="POST", path=f"{path}?q=1", headers=headers, body={"text": "grüße"})
    assert (told["status"], told["protocol"], told["listener"]) == (201, "HTTP/1.1", "http")
    assert told["body"] == {"size": 9, "text": "<grüße>"}
    assert ["x-a", "1"] in told["headers"]

    (came,) = upstream.to(path.removeprefix(f"/{NAME}"))
    assert (came.method, came.body) == ("POST", "grüße".encode())
    assert (came.value("x-user"), came.value("authorization"), came.value("x-added")) == ("ann", "Bearer s3cret", "1")
    own = {"x-request-id", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "host", "content-length"}
    assert {name.decode() for name, _ in came.headers} - own == {"x-user", "authorization", "x-added"}

    found = exchange(gateway, told)
    assert found["id"] == came.value("x-request-id")
    assert (found["request"]["path"], found["request"]["query"]) == (path, "q=1")
    assert ["authorization", "[redacted]"] in found["request"]["headers"]
    assert [one["policy"].partition(":")[0] for one in found["executions"]] == ["add-headers", "sleep", "add-headers"]


def test_bytes_both_ways(gateway: Gateway, upstream: Upstream, path: str) -> None:
    content = bytes(range(256)) * 1000
    upstream.reply = lambda request: Reply(200, [], request.body)
    told = answer(gateway, method="POST", path=path, body={"base64": base64.b64encode(content).decode()})
    assert base64.b64decode(told["body"]["base64"]) == content
    assert told["body"]["size"] == len(content)


def test_a_large_answer_is_cut_and_ends(gateway: Gateway, upstream: Upstream, path: str) -> None:
    upstream.reply = lambda _: Reply(200, [], b"x" * 3_000_000)
    told = answer(gateway, path=path)
    assert told["body"]["size"] == 3_000_000
    assert told["body"]["truncated"] is True
    assert len(told["body"]["text"]) == 1 << 20
    assert exchange(gateway, told)["outcome"] == "completed"


def test_where_there_is_no_route(gateway: Gateway) -> None:
    told = answer(gateway, path=f"/{uuid.uuid4()}")
    assert (told["status"], told["recorded"]) == (404, False)
    assert told["requestId"]
    assert told["notRecorded"].startswith("no policy runs for it")


def test_an_api_without_policies_has_no_exchange(gateway: Gateway, upstream: Upstream) -> None:
    with deployed(gateway, api("unwatched", upstream.url)):
        told = answer(gateway, path="/unwatched/x")
    assert (told["status"], told["recorded"]) == (200, False)
    assert told["notRecorded"].startswith("no policy runs for it")


def test_a_refusal_of_a_policy_is_recorded(gateway: Gateway, upstream: Upstream) -> None:
    with deployed(gateway, api("raising", upstream.url, [attach("raise-error")])):
        told = answer(gateway, path="/raising/x")
        found = exchange(gateway, told)
    assert told["status"] == 500
    assert found["executions"][0]["failure"]["class"] == "exception"
    assert told["requestId"] in told["body"]["text"]


def test_an_upstream_that_is_away(gateway: Gateway) -> None:
    with closed_port() as port, deployed(gateway, api("nobody", f"http://127.0.0.1:{port}", [attach("pass-on")])):
        told = answer(gateway, path="/nobody/x")
        assert told["status"] == 503
        assert exchange(gateway, told)["response"]["status"] == 503


def test_an_upstream_that_does_not_answer_in_time(gateway: Gateway) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with deployed(gateway, api("mute", url, [attach("pass-on")])):
            found = sent(gateway, path="/mute/x", seconds=1)
    assert found.status_code == 504
    assert "the answer had not begun after 1 s; " in found.json()["detail"]
    assert f"curl -i -X GET {gateway.url}/mute/x" in found.json()["detail"]


def test_who_does_not_wait_ends_the_request(gateway: Gateway) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with deployed(gateway, api("left", url, [attach("pass-on")])):
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


def test_a_listener_with_tls(gateway: Gateway, upstream: Upstream, path: str, tmp_path: Path) -> None:
    with secured(gateway, tmp_path):
        told = answer(gateway, path=path, listener="https", host="localhost")
        assert (told["status"], told["listener"]) == (200, "https")
        assert upstream.received[-1].value("x-forwarded-proto") == "https"
        assert exchange(gateway, told)["request"]["authority"] == "localhost"
        assert sent(gateway, path=path, listener="other").json()["errors"] == [
            {"field": "listener", "message": "expected one of http or https, got 'other'"}
        ]


def test_who_has_no_token_sends_nothing(gateway: Gateway, upstream: Upstream, path: str) -> None:
    with gateway.controller() as client:
        found = httpx.post(f"{client.base_url}/v1/requests", json={"path": path})
    assert found.status_code == 401
    assert not upstream.received
