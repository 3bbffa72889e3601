"""Pools by behaviour: the targets that get requests, and the answers when targets fail."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from e2e.kit.gateway import Gateway, Json, api, attach, eventually, running
from e2e.kit.pool_targets import HEALTH, Mode, Target, take_counts, targets
from e2e.kit.traffic import Traffic, traffic

REQUESTS = 300
DEVIATIONS = 5
"""Standard deviations of a binomial distribution: chance leaves this bound once in a million."""
CLIENTS, PAUSE = 4, 0.018
"""About 200 requests a second."""
PAUSE_BESIDE_OTHERS = 0.045
"""About 80 requests a second."""
ENOUGH = 40
"""Answers, of which a target that is asked has some: by chance it has none once in a million million times."""


@pytest.fixture(scope="module")
def pool_gateway(build: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway of this file's own: its counters are read."""
    with running(build, tmp_path_factory.mktemp("state")) as gateway:
        yield gateway


def pool(name: str, members: Sequence[Target], policies: list[Json] | None = None, **fields: object) -> Json:
    """An API whose main pool has these targets."""
    document = api(name, "", policies)
    document["spec"]["upstream"]["main"] = {"targets": [{"url": target.url} for target in members], **fields}
    return document


def stat(gateway: Gateway, name: str, counter: str) -> str:
    """A counter of the API's one cluster, as Envoy's statistics are asked for it."""
    (cluster,) = json.loads(gateway.admin("engine", "/clusters"))[name]
    return f"cluster.{cluster}.{counter}$".replace("|", "%5C%7C")


def send_requests(gateway: Gateway, name: str, count: int, **headers: str) -> list[str]:
    """The bodies of as many answers: the targets' names, or statuses."""
    with httpx.Client(headers={key.replace("_", "-"): value for key, value in headers.items()}) as client:
        answers = [client.get(f"{gateway.url}/{name}/x") for _ in range(count)]
    return [answer.text if answer.status_code == 200 else str(answer.status_code) for answer in answers]


@pytest.mark.parametrize(
    ("algorithm", "weights"),
    [("leastRequest", (3, 1)), ("leastRequest", (1, 1)), ("roundRobin", (3, 1)), ("random", (1, 1))],
    ids=str,
)
def test_targets_have_their_shares(pool_gateway: Gateway, algorithm: str, weights: tuple[int, int]) -> None:
    with targets("a", "b") as members:
        document = pool("shares", members, loadBalancing={"algorithm": algorithm})
        for target, weight in zip(document["spec"]["upstream"]["main"]["targets"], weights, strict=True):
            target["weight"] = weight
        pool_gateway.deploy(document)
        counts = send_requests(pool_gateway, "shares", REQUESTS)
        share = weights[0] / sum(weights)
        bound = DEVIATIONS * math.sqrt(REQUESTS * share * (1 - share))
        assert abs(counts.count("a") - REQUESTS * share) < bound
        assert counts.count("a") + counts.count("b") == REQUESTS


def test_zones_have_the_shares_of_their_targets(pool_gateway: Gateway) -> None:
    with targets("a", "b", "c") as members:
        document = pool("zones", members)
        for target, zone in zip(document["spec"]["upstream"]["main"]["targets"], ("one", "one", "two"), strict=True):
            target["zone"] = zone
        pool_gateway.deploy(document)
        counts = send_requests(pool_gateway, "zones", REQUESTS)
        for name in "abc":
            bound = DEVIATIONS * math.sqrt(REQUESTS * (1 / 3) * (2 / 3))
            assert abs(counts.count(name) - REQUESTS / 3) < bound


def test_a_ring_hash_sticks_and_moves_little(pool_gateway: Gateway) -> None:
    users = [f"user-{number}" for number in range(200)]

    def homes() -> dict[str, str]:
        with httpx.Client() as client:
            return {user: client.get(f"{pool_gateway.url}/ring/x", headers={"x-user": user}).text for user in users}

    with targets("a", "b", "c", "d") as members:
        ring = {"algorithm": "ringHash", "hashOn": {"header": "x-user"}}
        pool_gateway.deploy(pool("ring", members[:3], loadBalancing=ring))
        before = homes()
        assert homes() == before
        assert len(set(before.values())) == 3
        pool_gateway.deploy(pool("ring", members, loadBalancing=ring))
        after = homes()
        moved = [user for user in users if before[user] != after[user]]
        # A quarter moves to the new one; Envoy's ring, which keeps its size, moves some more.
        assert 0.1 < len(moved) / len(users) < 0.5
        assert sum(after[user] == "d" for user in moved) > len(moved) / 2


def test_a_cookie_is_set_and_sticks(pool_gateway: Gateway) -> None:
    with targets("a", "b", "c") as members:
        hash_on = {"cookie": "home", "cookieTtl": "60s"}
        pool_gateway.deploy(pool("cookie", members, loadBalancing={"algorithm": "ringHash", "hashOn": hash_on}))
        homes = set()
        for _ in range(20):
            with httpx.Client() as client:
                first = client.get(f"{pool_gateway.url}/cookie/x")
                assert "Max-Age=60" in first.headers["set-cookie"]
                again = [client.get(f"{pool_gateway.url}/cookie/x") for _ in range(5)]
                assert {answer.text for answer in again} == {first.text}
                assert not any("set-cookie" in answer.headers for answer in again)
                homes.add(first.text)
        assert len(homes) > 1


def test_a_clients_address_sticks(pool_gateway: Gateway) -> None:
    with targets("a", "b", "c") as members:
        ring = {"algorithm": "ringHash", "hashOn": {"clientAddress": True}}
        pool_gateway.deploy(pool("address", members, loadBalancing=ring))
        assert len(set(send_requests(pool_gateway, "address", 30))) == 1


FAILING: list[tuple[Mode, Json, set[int | str]]] = [
    ("gone", {}, {503, "error"}),  # a response of which the client has a part breaks
    ("reset", {}, {503}),
    ("503", {}, {503}),
    ("500", {"consecutive5xx": 5}, {500}),
    ("silent", {}, {504}),
]


def test_targets_that_fail_are_ejected_and_come_back(pool_gateway: Gateway) -> None:
    """All ways to fail side by side: each of them waits for the time of an ejection."""
    with ThreadPoolExecutor(len(FAILING)) as threads:
        checks = {case[0]: threads.submit(check_ejection, pool_gateway, *case) for case in FAILING}
    mistakes = {mode: error for mode, check in checks.items() if (error := check.exception())}
    if mistakes:
        raise BaseExceptionGroup(f"targets that fail: {', '.join(mistakes)}", [*mistakes.values()])


def check_ejection(gateway: Gateway, mode: Mode, ejection: Json, statuses: set[int | str]) -> None:
    """Clients see no more failures than it takes to eject it; it is tried again after its time, and stays when fine."""
    name = f"ejected-{mode}"
    with targets("a", "b") as members:
        document = pool(name, members, ejection={"baseTime": "6s", **ejection})
        if mode == "silent":
            document["spec"]["requestTimeout"] = "1s"
        gateway.deploy(document)
        bad = members[1]
        with traffic(f"{gateway.url}/{name}/x", clients=CLIENTS, pause=PAUSE_BESIDE_OTHERS) as (flow,):
            eventually("both are asked", lambda: all(target.seen for target in members))
            bad.become(mode)
            eventually("a client has seen it", lambda: flow.counts().keys() - {200})
            ejected = stat(gateway, name, "outlier_detection.ejections_active")
            eventually("it is out", lambda: gateway.envoy_stat(ejected) == 1)
            eventually("workers know", lambda: is_left_alone(bad, flow))
            flow.wait_for_each()
            failures = flow.failures()
            take_counts(members)
            flow.wait_for(ENOUGH)
            assert flow.failures() == failures
            assert take_counts(members)["b"] == 0
            bad.become("fine")
            eventually("it is asked again", lambda: len(bad.seen) > 20)
        assert set(flow.counts()) - {200} <= statuses
        # Five in a row, and what was under way by then.
        assert failures <= 5 + 2 * CLIENTS


def is_left_alone(target: Target, flow: Traffic) -> bool:
    """Whether it gets no more requests."""
    target.seen.clear()
    flow.wait_for(ENOUGH)
    return not target.seen


@pytest.mark.parametrize(("algorithm", "least", "most"), [("leastRequest", 0, 0.4), ("roundRobin", 0.4, 0.6)])
def test_a_slow_target_gets_fewer_requests_unless_they_take_turns(
    pool_gateway: Gateway, algorithm: str, least: float, most: float
) -> None:
    with targets("a", "b") as members:
        pool_gateway.deploy(pool("slow", members, loadBalancing={"algorithm": algorithm}))
        members[1].become("slow")
        with traffic(f"{pool_gateway.url}/slow/x", clients=8, pause=0.005) as (flow,):
            eventually("enough are asked", lambda: len(flow.answers) > 400, 30)
        shares = take_counts(members)
        share = shares["b"] / shares.total()
        assert least < share < most
        assert set(flow.counts()) == {200}


def test_statuses_of_an_application_eject_no_target_by_default(pool_gateway: Gateway) -> None:
    with targets("a", "b") as members:
        pool_gateway.deploy(pool("provoked", members))
        members[1].become("500")
        counts = send_requests(pool_gateway, "provoked", 200)
        assert counts.count("500") > 50


def test_a_single_target_is_never_ejected(pool_gateway: Gateway) -> None:
    with targets("a") as (target,):
        pool_gateway.deploy(pool("single", [target]))
        target.become("reset")
        assert set(send_requests(pool_gateway, "single", 30)) == {"503"}
        target.become("fine")
        assert send_requests(pool_gateway, "single", 1) == ["a"]


@pytest.mark.parametrize("mode", ["gone", "503", "silent"])
def test_a_health_check_takes_a_target_out_and_back(pool_gateway: Gateway, mode: Mode) -> None:
    """Of idle targets too: no request has to fail first. Requests under way may."""
    with targets("a", "b") as pool_members:
        check = {"http": {"path": HEALTH}, "interval": "200ms", "timeout": "200ms", "unhealthyThreshold": 2}
        document = pool("checked", pool_members, healthCheck=check, ejection={"consecutiveGatewayErrors": 0})
        pool_gateway.deploy(document)
        pool_members[1].become(mode)
        members = stat(pool_gateway, "checked", "membership_healthy")
        eventually("it is out", lambda: pool_gateway.envoy_stat(members) == 1)
        eventually("workers know", lambda: set(send_requests(pool_gateway, "checked", 50)) == {"a"})
        assert pool_members[0].checks > 1
        pool_members[1].become("fine")
        eventually("it is back", lambda: pool_gateway.envoy_stat(members) == 2)
        eventually("workers know", lambda: set(send_requests(pool_gateway, "checked", 50)) == {"a", "b"})


def test_a_health_check_under_load_costs_few_requests(pool_gateway: Gateway) -> None:
    with targets("a", "b") as pool_members:
        check = {"http": {"path": HEALTH}, "interval": "200ms", "timeout": "200ms", "unhealthyThreshold": 2}
        pool_gateway.deploy(pool("loaded", pool_members, healthCheck=check, ejection={"consecutiveGatewayErrors": 0}))
        with traffic(f"{pool_gateway.url}/loaded/x", clients=CLIENTS, pause=PAUSE) as (flow,):
            eventually("both are asked", lambda: all(target.seen for target in pool_members))
            pool_members[1].become("gone")
            eventually("a client has seen it", lambda: flow.counts()[503])
            members = stat(pool_gateway, "loaded", "membership_healthy")
            eventually("it is out", lambda: pool_gateway.envoy_stat(members) == 1)
            eventually("workers know", flow.is_steady)
            failures = flow.failures()
            flow.wait_for(ENOUGH)
            pool_members[1].become("fine")
            eventually("it is asked again", lambda: len(pool_members[1].seen) > 20)
            flow.wait_for(ENOUGH)
        assert flow.failures() == failures
        assert set(flow.counts()) == {200, 503}


def test_if_all_targets_are_down_clients_are_answered_at_once(pool_gateway: Gateway) -> None:
    """Envoy's own default would give requests to targets that it knows to be down."""
    with targets("a", "b") as members:
        for target in members:
            target.become("503")
        check = {"http": {"path": HEALTH}, "interval": "200ms"}
        pool_gateway.deploy(pool("down", members, healthCheck=check))
        answer = httpx.get(f"{pool_gateway.url}/down/x")
        assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
        assert answer.json()["detail"] == "The upstream is not available."
        assert take_counts(members).total() == 0


@pytest.mark.parametrize("policies", [[], [attach("pass-on")]], ids=["no policies", "policies"])
def test_a_circuit_breaker_answers_503_and_when_to_try_again(pool_gateway: Gateway, policies: list[Json]) -> None:
    with targets("a") as (target,), ThreadPoolExecutor(2) as waiting:
        pool_gateway.deploy(pool("breaker", [target], policies, circuitBreaker={"maxRequests": 2}))
        target.become("silent")
        waiting_requests = [
            waiting.submit(httpx.get, f"{pool_gateway.url}/breaker/{number}", timeout=20) for number in range(2)
        ]
        eventually("two are under way", lambda: target.under_way == 2)
        answer = httpx.get(f"{pool_gateway.url}/breaker/third")
        assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
        assert (answer.headers["retry-after"], answer.json()["title"]) == ("1", "Service Unavailable")
        assert answer.json()["detail"] == "The upstream has as many requests as it is given at once."
        target.become("fine")
        assert [future.result().status_code for future in waiting_requests] == [200, 200]
        assert httpx.get(f"{pool_gateway.url}/breaker/fourth").status_code == 200
        assert "/third" not in target.seen


def test_a_pool_changes_under_load_without_a_failed_request(pool_gateway: Gateway) -> None:
    with targets("a", "b", "c") as members:
        changes: list[Json] = [
            pool("changing", members[:1]),
            pool("changing", members[:2], loadBalancing={"algorithm": "roundRobin"}),
            pool("changing", members, healthCheck={"http": {"path": HEALTH}}),
            pool("changing", members[1:], connectTimeout="1s", idleTimeout="5s"),
            pool("changing", members[2:]),
        ]
        pool_gateway.deploy(changes[0])
        with traffic(f"{pool_gateway.url}/changing/x", clients=CLIENTS, pause=PAUSE) as (flow,):
            for document in changes * 2:
                pool_gateway.deploy(document)
                take_counts(members)
                urls = {target["url"] for target in document["spec"]["upstream"]["main"]["targets"]}
                eventually("all are asked", lambda: all(target.seen for target in members if target.url in urls))  # noqa: B023
        assert set(flow.counts()) == {200}, flow.problems[:3]


def test_targets_receive_the_host_of_the_pool(pool_gateway: Gateway) -> None:
    with targets("a", "b") as members:
        pool_gateway.deploy(pool("hosted", members, host="orders.example:8080"))
        send_requests(pool_gateway, "hosted", 20)
        assert {host for target in members for host in target.hosts} == {"orders.example:8080"}
        pool_gateway.deploy(pool("hosted", members))
        for target in members:
            target.hosts.clear()
        send_requests(pool_gateway, "hosted", 20)
        assert {host for target in members for host in target.hosts} == {f"127.0.0.1:{members[0].port}"}


def test_connections_end_at_their_configured_limits(pool_gateway: Gateway) -> None:
    with targets("a") as (target,):
        pool_gateway.deploy(pool("aging", [target], maxRequestsPerConnection=1))
        send_requests(pool_gateway, "aging", 10)
        assert len(target.first) == 10
        pool_gateway.deploy(pool("aging", [target]))
        target.first.clear()
        send_requests(pool_gateway, "aging", 10)
        assert len(target.first) <= 2  # each of Envoy's workers has its own
        pool_gateway.deploy(pool("aging", [target], idleTimeout="200ms"))
        target.first.clear()
        with httpx.Client() as client:
            connections = stat(pool_gateway, "aging", "upstream_cx_active")
            for _ in range(3):
                client.get(f"{pool_gateway.url}/aging/x")
                eventually("it has ended", lambda: pool_gateway.envoy_stat(connections) == 0)
        assert len(target.first) == 3


def test_apis_with_one_upstream_share_a_cluster_until_the_last_has_gone(pool_gateway: Gateway) -> None:
    with targets("a") as (target,):
        names = [f"sharing-{number}" for number in range(30)]
        for name in names:
            pool_gateway.deploy(api(name, target.url))
        clusters = json.loads(pool_gateway.admin("engine", "/clusters"))
        shared = {cluster for name in names for cluster in clusters[name]}
        assert len(shared) == 1
        with pool_gateway.controller() as client:
            for name in names[:-1]:
                assert client.delete(f"/v1/apis/{name}", params={"wait": "10"}).is_success
        assert send_requests(pool_gateway, names[-1], 5) == ["a"] * 5
        assert set(json.loads(pool_gateway.admin("engine", "/clusters"))) & set(names) == {names[-1]}
        status = pool_gateway.admin("envoy", "/clusters?format=json")
        assert sum(cluster["name"] in shared for cluster in json.loads(status)["cluster_statuses"]) == 1
