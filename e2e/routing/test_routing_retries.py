"""How often a request is sent, counted at the targets."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent import futures

import grpc
import httpx
import pytest

from e2e.kit.gateway import Gateway, Json, api, attach
from e2e.kit.grpc_calls import Calls
from e2e.kit.targets import Target, targets

RATE, SECONDS = 60, 3


@pytest.fixture(scope="module")
def both_targets() -> Iterator[list[Target]]:
    with targets("good", "bad") as members:
        yield members


@pytest.fixture
def pair(both_targets: list[Target]) -> list[Target]:
    for target in both_targets:
        target.clear()
    return both_targets


def retrying_api(name: str, pair: list[Target], *policies: Json, method: str = "GET", **operation: object) -> Json:
    """A pool of both targets, neither of which is taken out for its failures."""
    document = api(name, "", list(policies), [{"method": method, "path": "/*", **operation}])
    pool = {"targets": [{"url": target.url} for target in pair], "ejection": {"consecutiveGatewayErrors": 0}}
    document["spec"]["upstream"] = {"main": pool | {"loadBalancing": {"algorithm": "roundRobin"}}}
    return document


def single_target_api(name: str, target: Target, *policies: Json, method: str = "GET", **operation: object) -> Json:
    return api(name, target.url, list(policies), [{"method": method, "path": "/*", **operation}])


async def load(url: str, method: str = "GET") -> Counter[int]:
    """Statuses of RATE requests a second."""
    async with httpx.AsyncClient(limits=httpx.Limits(max_connections=100), timeout=120) as client:

        async def send_one(number: int) -> int:
            await asyncio.sleep(number / RATE)
            return (await client.request(method, f"{url}/{number}")).status_code

        return Counter(await asyncio.gather(*(send_one(number) for number in range(RATE * SECONDS))))


@pytest.mark.slow("a target that is slow is waited for, again and again")
@pytest.mark.parametrize("failure", ["503", "reset", "refused", "slow"])
def test_no_client_sees_that_one_of_two_targets_fails(gateway: Gateway, pair: list[Target], failure: str) -> None:
    good, bad = pair
    document = retrying_api("retried", pair, retries={"perTryTimeout": "3s"})
    if failure == "refused":
        document["spec"]["upstream"]["main"]["targets"][1] = {"url": "http://127.0.0.1:9"}
    gateway.deploy(document)
    bad.status, bad.reset, bad.seconds = 503 if failure == "503" else 200, failure == "reset", 9.0 * (failure == "slow")
    statuses = asyncio.run(load(f"{gateway.url}/retried"))
    assert statuses == {200: RATE * SECONDS}
    assert good.count == RATE * SECONDS
    if failure != "refused":
        assert bad.count > RATE * SECONDS / 4
        assert max(bad.requests.values()) == 1  # and the second try of each was the good one's
    assert max(good.requests.values()) == 1


@pytest.mark.parametrize("failure", ["503", "reset", "slow"])
@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_requests_that_are_not_idempotent_are_sent_once(
    gateway: Gateway, pair: list[Target], failure: str, method: str
) -> None:
    """The API says that it retries; for a POST that alone allows nothing."""
    target = pair[1]
    document = single_target_api("once", target, method=method)
    document["spec"] |= {
        "retries": {"conditions": ["reset", "serverError", 503], "attempts": 5},
        "requestTimeout": "300ms",
    }
    gateway.deploy(document)
    target.status, target.reset, target.seconds = (
        503 if failure == "503" else 200,
        failure == "reset",
        failure == "slow",
    )
    for number in range(5):
        assert httpx.request(method, f"{gateway.url}/once/{number}", content=b"x").status_code in (503, 504)
    assert target.requests == {f"{method} /{number}": 1 for number in range(5)}


def test_a_post_is_sent_twice_where_that_is_allowed(gateway: Gateway, pair: list[Target]) -> None:
    good, bad = pair
    gateway.deploy(retrying_api("allowed", pair, method="POST", retries={"methods": ["POST"]}))
    bad.status = 503
    for number in range(20):
        answer = httpx.post(f"{gateway.url}/allowed/{number}", content=b"body")
        assert (answer.status_code, answer.text) == (200, "good")
    assert bad.count > 5
    assert set(good.bodies) | set(bad.bodies) == {b"body"}


def test_a_method_that_a_policy_chose_decides(gateway: Gateway, pair: list[Target]) -> None:
    """A GET that a policy has made a POST is a POST."""
    target = pair[1]
    target.status = 503
    gateway.deploy(single_target_api("turned", target, attach("retarget", {"method": "POST"}), retries={"attempts": 3}))
    assert httpx.get(f"{gateway.url}/turned/a").status_code == 503
    assert target.requests == {"POST /a": 1}


@pytest.mark.parametrize(("attempts", "sent"), [(2, 2), (4, 4)])
def test_a_request_is_sent_as_often_as_attempts_says(
    gateway: Gateway, pair: list[Target], attempts: int, sent: int
) -> None:
    target = pair[1]
    target.status = 503
    gateway.deploy(single_target_api("attempts", target, retries={"attempts": attempts}))
    assert httpx.get(f"{gateway.url}/attempts/a").status_code == 503
    assert target.count == sent


@pytest.mark.parametrize(
    ("on", "status", "sent"),
    [
        (["gatewayError"], 502, 2), (["gatewayError"], 500, 1), (["serverError"], 500, 2), ([429], 429, 2),
        ([429], 503, 1), (["connectFailure", "refusedStream"], 503, 1), (["reset"], 503, 1),
    ],
)  # fmt: skip
def test_retry_conditions_decide(
    gateway: Gateway, pair: list[Target], on: list[object], status: int, sent: int
) -> None:
    target = pair[1]
    target.status = status
    gateway.deploy(single_target_api("conditions", target, retries={"conditions": on}))
    assert httpx.get(f"{gateway.url}/conditions/a").status_code == status
    assert target.count == sent


def test_each_try_has_its_timeout(gateway: Gateway, pair: list[Target]) -> None:
    target = pair[1]
    target.seconds = 3
    retries = {"attempts": 3, "perTryTimeout": "200ms", "backOff": {"base": "1ms"}}
    gateway.deploy(single_target_api("tries", target, retries=retries))
    assert httpx.get(f"{gateway.url}/tries/a").status_code == 504
    assert target.count == 3, "expected each try to end before the target answers"


def test_the_back_off_is_waited_for(gateway: Gateway, pair: list[Target]) -> None:
    """Random up to base: ten requests do not all go on at once."""
    target = pair[1]
    target.status = 503
    gateway.deploy(single_target_api("waits", target, retries={"backOff": {"base": "400ms", "max": "400ms"}}))
    start = time.monotonic()
    for _ in range(10):
        httpx.get(f"{gateway.url}/waits/a")
    assert time.monotonic() - start > 0.4


def test_policies_run_once_and_see_the_last_answer(gateway: Gateway, pair: list[Target]) -> None:
    good, bad = pair
    bad.status = 503
    gateway.deploy(retrying_api("seen", pair, attach("mark", {"name": "m"}), retries=True))
    for _ in range(10):
        answer = httpx.get(f"{gateway.url}/seen/a")
        assert (answer.status_code, answer.headers.get_list("x-order")) == (200, ["m()"])
    assert bad.count > 2
    for head in (*good.heads, *bad.heads):
        assert head[2]["x-order"] == "m()"


@pytest.mark.parametrize(
    "policies", [[], [attach("pass-stream")], [attach("body-length")]], ids=["plain", "stream", "buffer"]
)
@pytest.mark.parametrize("size", [10_000, 5_000_000])
def test_a_body_is_sent_again_if_it_is_small(
    gateway: Gateway, pair: list[Target], size: int, policies: list[Json]
) -> None:
    """A body larger than Envoy's buffer is sent once: the client gets the upstream's own answer."""
    good, bad = pair
    policies = [policy | {"maxBodyBytes": 8_000_000} for policy in policies]
    gateway.deploy(retrying_api("bodies", pair, *policies, method="PUT", retries=True))
    bad.status = 503
    body = b"x" * size
    statuses = Counter(httpx.put(f"{gateway.url}/bodies/{number}", content=body).status_code for number in range(10))
    assert bad.count >= 4
    for target in pair:
        assert {len(body) for body in target.bodies} == {size}
    if size < 32_768:
        assert statuses == {200: 10}
    else:
        assert statuses == {200: 10 - bad.count, 503: bad.count}
        assert good.count + bad.count == 10


def test_nothing_is_sent_again_once_an_answer_has_begun(gateway: Gateway) -> None:
    """The connection ends in the middle of the body: the client sees it, and no target is asked again."""
    listener = _Cut()
    gateway.deploy(api("begun", listener.url, [], [{"method": "GET", "path": "/*", "retries": {"attempts": 5}}]))
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.get(f"{gateway.url}/begun/a")
    assert listener.count == 1
    listener.close()


class _Cut:
    """Sends half of a body and closes."""

    def __init__(self) -> None:
        self.count = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                connection.recv(65536)
                self.count += 1
                connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")
                time.sleep(0.2)


@pytest.mark.parametrize("policies", [[], [attach("mark", {"name": "m"})]], ids=["plain", "policies"])
def test_a_grpc_call_is_sent_again_where_that_is_allowed(gateway: Gateway, policies: list[Json]) -> None:
    server, calls = grpc.server(futures.ThreadPoolExecutor(4)), Calls(failures=1)
    server.add_generic_rpc_handlers((calls,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    once = {"method": "POST", "path": "/once.S/{method}"}
    allowed = {"conditions": ["grpcUnavailable"], "methods": ["POST"], "attempts": 3}
    again = {"method": "POST", "path": "/again.S/{method}", "retries": allowed}
    gateway.deploy(api("grpc-retried", f"grpc://127.0.0.1:{port}", policies, [once, again]))
    with grpc.insecure_channel(f"127.0.0.1:{gateway.port}") as channel:
        assert channel.unary_unary("/grpc-retried/again.S/Get", bytes, bytes)(b"x", timeout=10) == b"x2"
        with pytest.raises(grpc.RpcError) as failed:
            channel.unary_unary("/grpc-retried/once.S/Get", bytes, bytes)(b"x", timeout=10)
        assert failed.value.code() is grpc.StatusCode.UNAVAILABLE
    assert calls.calls == {"/again.S/Get": 2, "/once.S/Get": 1}
    server.stop(0).wait()
