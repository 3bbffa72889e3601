"""The shapes of requests that pass policies by elsewhere, each against a header policy and a body policy: over HTTP/1.1
in clear, and over HTTP/2 with TLS. What passes a chain, by each pair of versions, is the table in passing/."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import pytest

from e2e.kit.gateway import Gateway, api, attach
from e2e.kit.secured import TlsListener, add_tls_listener
from e2e.kit.tunnel import tunnel
from e2e.kit.upstream import Upstream
from e2e.kit.wire import Answer, Shape, http1, http2

MIB = 1 << 20
PIECE = b"x" * 65536
SMALL = [
    Shape("headers with END_STREAM"),
    Shape("content-length 0", headers=[("content-length", "0")]),
    Shape("empty DATA or chunked", data=[b""], chunked=True),
    Shape("trailers without DATA", trailers=[("x-trailer", "t")]),
    Shape("DATA and trailers", data=[b"abc", b"def"], trailers=[("x-trailer", "t")]),
    Shape("DATA", data=[b"abc"]),
    Shape("HEAD", method="HEAD"),
    Shape("GET with a body", method="GET", data=[b"abc"]),
]
LARGE = Shape("20 MiB", data=[PIECE] * 320)
OVER = Shape("over the limit", data=[b"x" * (MIB + 1)])
Client = Callable[[str, Shape], Answer]
small = pytest.mark.parametrize("shape", SMALL, ids=lambda shape: shape.name)
WIDE = 32 * MIB


@pytest.fixture(scope="module")
def tls(shared_gateway: Gateway, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsListener]:
    with add_tls_listener(shared_gateway, tmp_path_factory.mktemp("tls")) as listener:
        yield listener


@pytest.fixture(scope="module", params=["http1", "tls http2"])
def client(request: pytest.FixtureRequest, shared_gateway: Gateway) -> Iterator[Client]:
    """Asks for a path with a shape."""
    send, alpn = (http2, "h2") if request.param.endswith("2") else (http1, "http/1.1")
    if not request.param.startswith("tls"):
        yield partial(send, shared_gateway.port)
        return
    listener: TlsListener = request.getfixturevalue("tls")
    with tunnel(listener.port, listener.trust, alpn) as port:
        yield partial(send, port)


@pytest.fixture(scope="module", autouse=True)
def apis(shared_gateway: Gateway, recording_upstream: Upstream) -> None:
    first = attach("add-headers", {"requestHeaders": [{"name": "x-first", "value": "1"}]})
    for name, attachment in {
        "deny-headers": attach("deny-headers"),
        "deny-body": attach("deny-body"),
        "deny-body-wide": attach("deny-body", maxBodyBytes=WIDE, timeout="10s"),
        "allow": attach("mark", {"name": "m"}),
        "allow-body": attach("body-length"),
        "allow-body-wide": attach("body-length", maxBodyBytes=WIDE, timeout="10s"),
    }.items():
        shared_gateway.deploy(api(name, recording_upstream.url, [first, attachment]))


@pytest.mark.parametrize("shape", [*SMALL, OVER, LARGE], ids=lambda shape: shape.name)
def test_a_header_policy_denies_every_shape(upstream: Upstream, client: Client, shape: Shape) -> None:
    answer = client("/deny-headers/x", shape)
    assert answer.status == 403
    assert upstream.received == []


@small
def test_a_body_policy_denies_every_shape(upstream: Upstream, client: Client, shape: Shape) -> None:
    answer = client("/deny-body/x", shape)
    assert (answer.status, answer.value("x-length")) == (403, str(len(shape.body)))
    assert upstream.received == []


@pytest.mark.parametrize("shape", [OVER, LARGE], ids=lambda shape: shape.name)
@pytest.mark.parametrize("name", ["deny-body", "allow-body"])
def test_a_body_over_the_limit_is_413(upstream: Upstream, client: Client, shape: Shape, name: str) -> None:
    assert client(f"/{name}/x", shape).status == 413
    assert upstream.received == []


def test_a_large_body_at_full_speed_is_denied(upstream: Upstream, client: Client) -> None:
    answer = client("/deny-body-wide/x", LARGE)
    assert (answer.status, answer.value("x-length")) == (403, str(len(LARGE.body)))
    assert upstream.received == []


@small
@pytest.mark.parametrize("name", ["allow", "allow-body"])
def test_an_allowed_request_arrives_whole(upstream: Upstream, client: Client, shape: Shape, name: str) -> None:
    answer = client(f"/{name}/x", shape)
    assert answer.status == 200
    (request,) = upstream.received
    assert (request.method, request.body) == (shape.method, shape.body)
    assert request.value("x-first") == "1"
    assert request.value("x-body-length") == (str(len(shape.body)) if name == "allow-body" else None)


@pytest.mark.parametrize("name", ["allow", "allow-body-wide"])
def test_a_large_allowed_request_arrives_whole(upstream: Upstream, client: Client, name: str) -> None:
    assert client(f"/{name}/x", LARGE).status == 200
    (request,) = upstream.received
    assert request.body == LARGE.body
