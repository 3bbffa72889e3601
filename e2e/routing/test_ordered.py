"""Operations in the order of the file, the client's own host upstream, and parts of requests that are answered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import httpx
import pytest

from e2e.kit.gateway import Gateway, Json, api, attach
from e2e.kit.targets import Target, targets

MANY = 1000
POLICIES = {"without-policies": [], "with-policies": [attach("mark", {"name": "m"})]}
"""Without policies each operation has a route of Envoy's, with them the engine may find the operation."""


@pytest.fixture(scope="module")
def pools() -> Iterator[list[Target]]:
    with targets("main", "canary") as members:
        yield members


@pytest.fixture
def two_targets(pools: list[Target]) -> list[Target]:
    for target in pools:
        target.clear()
    return pools


@pytest.fixture(params=POLICIES)
def policies(request: pytest.FixtureRequest) -> list[Json]:
    return POLICIES[request.param]


def ordered(name: str, pools: list[Target], operations: list[Json], policies: list[Json], **spec: object) -> Json:
    document = api(name, pools[0].url, policies, operations)
    document["spec"]["upstream"] = {target.name: {"url": target.url} for target in pools}
    document["spec"] |= {"matching": "ordered", "strictPaths": False} | spec
    return document


def test_the_first_that_matches_has_the_request(
    gateway: Gateway, two_targets: list[Target], policies: list[Json]
) -> None:
    operations: list[Json] = [
        {"method": "*", "path": "/a/*", "headers": [{"name": "x-to", "exact": "canary"}], "upstream": "canary"},
        {"method": "GET", "path": "/a/b", "rewrite": {"path": "/first"}},
        {"method": "GET", "path": "/a/*", "rewrite": {"path": "/second"}},
        {"method": "*", "path": "/c", "upstream": "canary"},
    ]
    name = f"ordered-{len(policies)}"
    gateway.deploy(ordered(name, two_targets, operations, policies))
    main, canary = two_targets
    with httpx.Client(base_url=f"{gateway.url}/{name}") as client:
        assert client.get("/a/b", headers={"x-to": "canary"}).text == "canary"
        assert client.post("/a/b", headers={"x-to": "canary"}).text == "canary"
        assert client.get("/a/b").text == "main"
        assert client.get("/a/c").text == "main"
        assert client.put("/c").text == "canary"
        for method, path in (("HEAD", "/a/b"), ("POST", "/a/b"), ("OPTIONS", "/a/b"), ("GET", "/d"), ("GET", "/c/")):
            assert client.request(method, path).status_code == 404, (method, path)
    assert set(main.requests) == {"GET /first", "GET /second"}
    assert not any(request.startswith("GET /d") for request in canary.requests)


def test_upstreams_are_sent_the_clients_host(gateway: Gateway, two_targets: list[Target], policies: list[Json]) -> None:
    operations: list[Json] = [
        {"method": "GET", "path": "/kept"},
        {"method": "GET", "path": "/own", "rewrite": {"host": "own.example"}},
        {"method": "GET", "path": "/pools", "rewrite": {"prefix": "/"}},
    ]
    name = f"kept-host-{len(policies)}"
    gateway.deploy(ordered(name, two_targets, operations, policies, rewrite={"keepHost": True}))
    main, _ = two_targets
    for path in ("kept", "own", "pools"):
        httpx.get(f"{gateway.url}/{name}/{path}", headers={"host": "Shop.example:8080"}).raise_for_status()
    assert [head[2]["host"] for head in main.heads] == ["Shop.example:8080", "own.example", main.url[7:]]


def test_a_part_of_requests_is_answered(gateway: Gateway, two_targets: list[Target], policies: list[Json]) -> None:
    split = [{"upstream": "main", "weight": 3}, {"answer": {"status": 500, "body": "gone"}, "weight": 1}]
    name = f"answered-part-{len(policies)}"
    gateway.deploy(ordered(name, two_targets, [{"method": "GET", "path": "/a", "split": split}], policies))
    with httpx.Client(base_url=gateway.url) as client:
        answers = [client.get(f"/{name}/a") for _ in range(MANY)]
    shares = Counter((answer.status_code, answer.text) for answer in answers)
    assert set(shares) == {(200, "main"), (500, "gone")}
    # Five standard deviations of a binomial: one run in a million is outside by chance.
    assert abs(shares[500, "gone"] - MANY / 4) < 5 * (MANY * 3 / 16) ** 0.5, shares
