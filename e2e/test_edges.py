"""The shapes of requests that pass policies by elsewhere, each against a header policy and a body policy."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from e2e.gateway import Gateway, api, attach
from e2e.upstream import Upstream
from e2e.wire import Answer, Shape, http1, http2

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
LARGE = [Shape("2 MiB", data=[PIECE] * 32), Shape("20 MiB", data=[PIECE] * 320)]
OVER = Shape("over the limit", data=[b"x" * (MIB + 1)])
Client = Callable[[int, str, Shape], Answer]
protocols = pytest.mark.parametrize("client", [http1, http2])
small = pytest.mark.parametrize("shape", SMALL, ids=lambda shape: shape.name)
large = pytest.mark.parametrize("shape", LARGE, ids=lambda shape: shape.name)
WIDE = 32 * MIB


@pytest.fixture(scope="module", autouse=True)
def apis(shared_gateway: Gateway, recording_upstream: Upstream) -> None:
    first = attach("add-headers", {"requestHeaders": [{"name": "x-first", "value": "1"}]})
    for name, attachment in {
        "deny-headers": attach("deny-headers"),
        "deny-body": attach("deny-body"),
        "deny-body-wide": attach("deny-body", maxBodyBytes=WIDE),
        "allow": attach("mark", {"name": "m"}),
        "allow-body": attach("body-length"),
        "allow-body-wide": attach("body-length", maxBodyBytes=WIDE),
    }.items():
        shared_gateway.deploy(api(name, recording_upstream.url, [first, attachment]))


@protocols
@pytest.mark.parametrize("shape", [*SMALL, OVER, *LARGE], ids=lambda shape: shape.name)
def test_a_header_policy_denies_every_shape(gateway: Gateway, upstream: Upstream, client: Client, shape: Shape) -> None:
    answer = client(gateway.port, "/deny-headers/x", shape)
    assert answer.status == 403
    assert upstream.received == []


@protocols
@small
def test_a_body_policy_denies_every_shape(gateway: Gateway, upstream: Upstream, client: Client, shape: Shape) -> None:
    answer = client(gateway.port, "/deny-body/x", shape)
    assert (answer.status, answer.value("x-length")) == (403, str(len(shape.body)))
    assert upstream.received == []


@protocols
@pytest.mark.parametrize("shape", [OVER, *LARGE], ids=lambda shape: shape.name)
@pytest.mark.parametrize("name", ["deny-body", "allow-body"])
def test_a_body_over_the_limit_is_413(
    gateway: Gateway, upstream: Upstream, client: Client, shape: Shape, name: str
) -> None:
    assert client(gateway.port, f"/{name}/x", shape).status == 413
    assert upstream.received == []


@protocols
@large
def test_a_large_body_at_full_speed_is_denied(
    gateway: Gateway, upstream: Upstream, client: Client, shape: Shape
) -> None:
    answer = client(gateway.port, "/deny-body-wide/x", shape)
    assert (answer.status, answer.value("x-length")) == (403, str(len(shape.body)))
    assert upstream.received == []


@protocols
@small
@pytest.mark.parametrize("name", ["allow", "allow-body"])
def test_what_is_allowed_arrives_whole(
    gateway: Gateway, upstream: Upstream, client: Client, shape: Shape, name: str
) -> None:
    answer = client(gateway.port, f"/{name}/x", shape)
    assert answer.status == 200
    (request,) = upstream.received
    assert (request.method, request.body) == (shape.method, shape.body)
    assert request.value("x-first") == "1"
    assert request.value("x-body-length") == (str(len(shape.body)) if name == "allow-body" else None)


@protocols
@large
@pytest.mark.parametrize("name", ["allow", "allow-body-wide"])
def test_what_is_allowed_and_large_arrives_whole(
    gateway: Gateway, upstream: Upstream, client: Client, shape: Shape, name: str
) -> None:
    assert client(gateway.port, f"/{name}/x", shape).status == 200
    (request,) = upstream.received
    assert request.body == shape.body
