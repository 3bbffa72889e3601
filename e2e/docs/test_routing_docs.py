"""docs/how-to/routing.md: what its samples say, on a gateway; only the targets are others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml
from gatewright.policy import Attempt, UpstreamRequestModifications

from e2e.kit.gateway import Gateway, Json, attach, eventually
from e2e.kit.markdown import blocks, page
from e2e.kit.targets import Target, targets

PAGE = "docs/how-to/routing.md"
NAMES = ("orders", "canary", "shadow", "stock-a", "stock-b", "quotes", "elsewhere", "shop", "events")


@pytest.fixture(scope="module")
def hosts() -> Iterator[dict[str, Target]]:
    with targets(*NAMES) as members:
        yield {target.name: target for target in members}


@pytest.fixture
def sample_url(gateway: Gateway, hosts: dict[str, Target], request: pytest.FixtureRequest) -> Iterator[str]:
    """The sample of this number, deployed."""
    text = blocks(page(PAGE), "yaml")[request.param]
    for name, target in hosts.items():
        target.clear()
        text = text.replace(f"http://{name}.internal:8080", target.url)
    text = text.replace("https://quotes.example", hosts["elsewhere"].url)
    document: Json = yaml.safe_load(text)
    if document["spec"].get("failover"):
        attempts = [{"upstream": "main"}, {"upstream": "elsewhere", "set_headers": {"x-api-key": "secret"}}]
        document["spec"]["policies"] = [attach("attempts", {"attempts": attempts})]
    gateway.deploy(document)
    yield f"{gateway.url}{document['spec']['context']}"
    gateway.remove(document["metadata"]["name"])


def with_sample(name: int) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("sample_url", [name], indirect=True)


def test_each_sample_of_the_page_has_a_test() -> None:
    assert len(blocks(page(PAGE), "yaml")) == 5
    assert len(blocks(page(PAGE), "python")) == 2


@with_sample(0)
def test_requests_go_to_a_pool(sample_url: str, hosts: dict[str, Target]) -> None:
    assert httpx.get(f"{sample_url}/7").text == "orders"
    assert httpx.put(f"{sample_url}/7").text == "canary"
    assert hosts["canary"].heads[0][1] == "/v2/7"
    with httpx.Client() as client:
        assert {client.delete(f"{sample_url}/7").text for _ in range(300)} == {"orders", "canary"}
        for _ in range(300):
            assert client.post(f"{sample_url}/").text == "orders"
    eventually("a copy", lambda: hosts["shadow"].count > 0)
    assert hosts["shadow"].requests.keys() == {"POST /api/"}


@with_sample(1)
def test_requests_are_retried(sample_url: str, hosts: dict[str, Target]) -> None:
    hosts["stock-a"].status = 503
    for number in range(4):
        assert httpx.get(f"{sample_url}/{number}").text == "stock-b"
        assert httpx.put(f"{sample_url}/{number}").text == "stock-b"
        assert httpx.post(f"{sample_url}/searches").text == "stock-b"
    hosts["stock-b"].status = 503
    hosts["stock-a"].requests.clear()
    hosts["stock-b"].requests.clear()
    assert httpx.post(f"{sample_url}/reservations").status_code == 503
    assert hosts["stock-a"].count + hosts["stock-b"].count == 1


@with_sample(2)
def test_the_next_upstream_is_asked(sample_url: str, hosts: dict[str, Target]) -> None:
    """The page's policy is that of the tests: its attempts are the same."""
    main, elsewhere = hosts["quotes"], hosts["elsewhere"]
    assert httpx.post(f"{sample_url}/", content=b"7").text == "quotes"
    assert (main.heads[0][1], elsewhere.count) == ("/api/", 0)
    main.status = 529
    assert httpx.post(f"{sample_url}/", content=b"7").text == "elsewhere"
    assert (elsewhere.heads[0][1], elsewhere.heads[0][2]["x-api-key"]) == ("/v2/", "secret")
    assert (main.count, elsewhere.count) == (2, 1)


@with_sample(3)
def test_paths_are_rewritten_and_clients_redirected(sample_url: str, hosts: dict[str, Target]) -> None:
    shop = hosts["shop"]
    for path, sent in {
        "/items/7": "/api/v2/goods/7",
        "/files/a/b": "/api/static/a/b",
        "/carts/7": "/api/v3/carts/7",
        "/old/7": "/api/v2/goods/7",
    }.items():
        shop.clear()
        assert httpx.get(f"{sample_url}{path}", follow_redirects=True).status_code == 200
        assert shop.heads[0][1] == sent
    assert httpx.get(f"{sample_url}/carts/7").status_code == 200
    assert shop.heads[-1][2]["host"] == "carts.internal"
    moved = httpx.get(f"{sample_url}/help/a")
    assert (moved.status_code, moved.headers["location"]) == (302, "https://help.example:443/shop/help/a")
    health = httpx.get(f"{sample_url}/health")
    assert (health.json(), health.headers["content-type"]) == ({"up": True}, "application/json")


@with_sample(4)
def test_timeouts_and_websockets_are_set(sample_url: str, hosts: dict[str, Target]) -> None:
    headers = {"connection": "upgrade", "upgrade": "websocket"}
    assert httpx.get(f"{sample_url}/report", headers=headers).status_code == 403
    assert hosts["events"].count == 0
    assert httpx.get(f"{sample_url}/live", headers=headers).status_code == 200  # by a target that does not switch
    assert httpx.get(f"{sample_url}/report").text == "events"


def test_the_shown_policies_are_valid() -> None:
    chooses, tries = blocks(page(PAGE), "python")
    names: dict[str, object] = {"UpstreamRequestModifications": UpstreamRequestModifications, "Attempt": Attempt}
    exec(compile(tries, Path(PAGE).name, "exec"), names)  # noqa: S102 - our own page
    action = names["on_request"](None, {"key": "secret"})  # type: ignore[operator]
    assert action.attempts == [Attempt("main"), Attempt("elsewhere", set_headers={"x-api-key": "secret"})]
    names = {"UpstreamRequestModifications": dict}
    exec(compile(chooses, Path(PAGE).name, "exec"), names)  # noqa: S102 - our own page
    context = type("Context", (), {"headers": {"x-tester": "me"}})
    assert names["on_request"](context, {"tester": "me"}) == {"upstream": "canary"}  # type: ignore[operator]
    assert names["on_request"](context, {"tester": "you"}) is None  # type: ignore[operator]
