"""Shadow attachments: what a changed policy would do on real traffic is found, and nothing of it is applied."""

from __future__ import annotations

import gzip
import json
import shlex
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
import yaml

from e2e.kit.commands import normalize, request_id_of, run_explain, run_tail
from e2e.kit.gateway import Gateway, Json, api, attach, eventually, fresh_name, running
from e2e.kit.markdown import blocks, page
from e2e.kit.recorded import kept_exchanges, record_exchanges
from e2e.kit.scraping import scrape
from e2e.kit.upstream import Recorded, Reply, Upstream

REQUESTS = 1000
PLAIN, DASHED, NONE = "4111111111111111", "4111-1111-1111-1111", "none"
PHASES = 2
GROWN = {"x-request-id", "x-forwarded-for", "date", "x-envoy-upstream-service-time"}


def body(number: int) -> bytes:
    """137 of 1,000 have a number that only the next version masks."""
    card = DASHED if number * 137 % REQUESTS < 137 else PLAIN if number % 2 else NONE
    return json.dumps({"number": number, "card": card}).encode()


DIFFERENT = sum(DASHED.encode() in body(number) for number in range(REQUESTS))


def answers(request: Recorded) -> Reply:
    """Answers with the request's body, encoded if the client accepts it."""
    headers = [("content-type", "application/json"), ("x-length", str(len(request.body)))]
    if "gzip" in (request.value("accept-encoding") or ""):
        return Reply(200, [*headers, ("content-encoding", "gzip")], gzip.compress(request.body, mtime=0))
    return Reply(200, headers, request.body)


def send(gateway: Gateway, name: str) -> dict[int, tuple[int, list[tuple[str, str]], bytes]]:
    """Sends all requests over a few connections; the answers by the request's number."""

    def send_one(number: int) -> tuple[int, list[tuple[str, str]], bytes]:
        answer = client.post(f"/{name}/{number}", content=body(number), headers={"content-type": "application/json"})
        return answer.status_code, headers_to_compare(answer.headers.multi_items()), answer.content

    with httpx.Client(base_url=gateway.url, timeout=60) as client, ThreadPoolExecutor(4) as pool:
        return dict(zip(range(REQUESTS), pool.map(send_one, range(REQUESTS)), strict=True))


def headers_to_compare(headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return sorted((name.lower(), value) for name, value in headers if name.lower() not in GROWN)


def requests_by_number(upstream: Upstream, name: str) -> dict[int, Json]:
    """The requests that the upstream received, by number."""
    return {
        int(request.target.rpartition("/")[2]): {
            "method": request.method,
            "headers": headers_to_compare([(key.decode(), value.decode()) for key, value in request.headers]),
            "body": request.body,
        }
        for request in upstream.to(f"/{name}/")
    }


def count_shadow_executions(gateway: Gateway, name: str) -> Counter[tuple[str, str]]:
    """How many executions have come out how, by phase."""
    samples = scrape(gateway).samples("gatewright_shadow_executions_total")
    return Counter(
        {
            (sample.labels["phase"], sample.labels["outcome"]): int(sample.value)
            for sample in samples
            if sample.labels["api"] == name
        }
    )


def test_the_differences_of_a_changed_policy_are_found_and_nothing_is_applied(
    gateway: Gateway, upstream: Upstream
) -> None:
    assert DIFFERENT == 137
    shadowed, unshadowed = fresh_name("shadowed"), fresh_name("unshadowed")
    upstream.reply = answers
    applied = attach("mask-card", version="v1.0.0")
    beside = attach("mask-card", version="v1.1.0", mode="shadow", maxConcurrency=64, timeout="30s")
    gateway.deploy(api(unshadowed, upstream.url, [applied]))
    gateway.deploy(api(shadowed, upstream.url, [applied, beside]))
    try:
        without = send(gateway, unshadowed)
        with record_exchanges(gateway, api=shadowed, shadow="different"):
            with_shadow = send(gateway, shadowed)
            eventually(
                "all shadows have ended",
                lambda: count_shadow_executions(gateway, shadowed).total() == REQUESTS * PHASES,
                60,
            )
            exchanges_by_number = {
                int(exchange["request"]["path"].rpartition("/")[2]): exchange
                for exchange in kept_exchanges(gateway, api=shadowed)
            }
        assert count_shadow_executions(gateway, shadowed) == {
            ("request", "different"): DIFFERENT,
            ("request", "same"): REQUESTS - DIFFERENT,
            ("response", "different"): DIFFERENT,
            ("response", "same"): REQUESTS - DIFFERENT,
        }
        assert sorted(exchanges_by_number) == [number for number in range(REQUESTS) if DASHED.encode() in body(number)]
        for exchange in exchanges_by_number.values():
            (shadow_execution,) = [
                execution
                for execution in exchange["executions"]
                if execution.get("shadow") and execution["phase"] == "request"
            ]
            assert (shadow_execution["policy"], shadow_execution["comparison"], shadow_execution["comparedWith"]) == (
                "mask-card:v1.1.0",
                "different",
                0,
            )
            assert (
                "****"
                in next(change for change in shadow_execution["changes"] if change["what"] == "body")["after"]["text"]
            )
            assert exchange["outcome"] == "completed"
        assert with_shadow == without
        assert requests_by_number(upstream, shadowed) == requests_by_number(upstream, unshadowed)
    finally:
        gateway.remove(shadowed)
        gateway.remove(unshadowed)


SHADOWS: dict[str, list[Json]] = {
    "answers": [attach("deny-body", mode="shadow")],
    "answers at once": [attach("python-deny", mode="shadow")],
    "of Go": [attach("add-headers", {"requestHeaders": [{"name": "x-tier", "value": "lead"}]}, mode="shadow")],
    "fails": [attach("misbehave", {"how": "raise"}, mode="shadow")],
    "does what it may not": [attach("misbehave", {"how": "crlf", "when": "response"}, mode="shadow")],
    "late": [attach("sleep", {"seconds": 5}, mode="shadow", timeout="50ms")],
    "reads the response": [attach("response-length", mode="shadow")],
    "reads all": [attach("mask-card", mode="shadow"), attach("response-length", mode="shadow", maxBodyBytes=10)],
}
REQUESTS_OF_ALL_KINDS: list[tuple[str, bytes | list[bytes], dict[str, str]]] = [
    ("GET", b"", {}),
    ("GET", b"", {"accept-encoding": "gzip, br"}),
    ("HEAD", b"", {}),
    ("POST", b"", {}),
    ("POST", b"a card: 4111111111111111", {"content-type": "text/plain"}),
    ("POST", [b"in ", b"pieces"], {}),
    ("POST", b"x" * 300_000, {}),
]


def exchanges(gateway: Gateway, upstream: Upstream, name: str) -> list[tuple[object, ...]]:
    """The messages that client and upstream received, of each kind of request."""
    results: list[tuple[object, ...]] = []
    with httpx.Client(base_url=gateway.url, timeout=60) as client:
        for method, content, headers in REQUESTS_OF_ALL_KINDS:
            upstream.received.clear()
            parts = iter(content) if isinstance(content, list) else content
            answer = client.request(method, f"/{name}/x?a=1", content=parts, headers=headers)
            received = [
                (
                    request.method,
                    headers_to_compare([(key.decode(), value.decode()) for key, value in request.headers]),
                    request.body,
                )
                for request in upstream.to(f"/{name}/")
            ]
            results.append(
                (answer.status_code, headers_to_compare(answer.headers.multi_items()), answer.content, received)
            )
    return results


@pytest.mark.parametrize("applied", [[], ["add-headers", "mark"]], ids=["alone", "among others"])
@pytest.mark.parametrize("name", SHADOWS)
def test_client_and_upstream_are_unaffected_by_a_shadow(
    gateway: Gateway, upstream: Upstream, name: str, applied: list[str]
) -> None:
    """Also without another policy, where without it no request would come to the engine."""
    upstream.reply = answers
    params: dict[str, Json] = {
        "add-headers": {"requestHeaders": [{"name": "x-tier", "value": "gold"}]}, "mark": {"name": "one"},
    }  # fmt: skip
    policies = [attach(name, params[name]) for name in applied]
    base = fresh_name(f"besides-{len(applied)}")
    operations = [{"method": method, "path": "/*"} for method in ("GET", "POST")]
    gateway.deploy(api(base, upstream.url, policies, operations))
    without = exchanges(gateway, upstream, base)
    try:
        gateway.deploy(api(base, upstream.url, [*SHADOWS[name], *policies], operations))
        assert exchanges(gateway, upstream, base) == without
        gateway.deploy(api(base, upstream.url, [*policies, *SHADOWS[name]], operations))
        assert exchanges(gateway, upstream, base) == without
        eventually("the shadows have run", lambda: count_shadow_executions(gateway, base).total() >= len(without), 60)
    finally:
        gateway.remove(base)


def test_a_shadow_that_ends_its_executor_fails_no_exchange(build: Path, upstream: Upstream, tmp_path: Path) -> None:
    """Other policies of that process lose nothing: it is restarted, and Go policies run in the engine."""
    with running(build, tmp_path) as gateway:
        tier = attach("add-headers", {"requestHeaders": [{"name": "x-tier", "value": "gold"}]})
        crashes = attach("faulty", {"how": "exit"}, mode="shadow", timeout="10s")
        gateway.deploy(api("crashing", upstream.url, [tier, crashes]))
        with record_exchanges(gateway, api="crashing", shadow="failed"):
            answers = [httpx.get(f"{gateway.url}/crashing/{number}") for number in range(5)]
            eventually(
                "the shadows have ended",
                lambda: count_shadow_executions(gateway, "crashing").total() >= len(answers),
                60,
            )
            exchanges_kept = kept_exchanges(gateway, api="crashing")
        assert [answer.status_code for answer in answers] == [200] * len(answers)
        assert all(request.value("x-tier") == "gold" for request in upstream.to("/crashing/"))
        classes = {
            execution["failure"]["class"]
            for exchange in exchanges_kept
            for execution in exchange["executions"]
            if execution.get("shadow")
        }
        assert "crashed" in classes
        assert not kept_exchanges(gateway, api="crashing", errors=True)


def test_the_pages_example_shows_the_differences(gateway: Gateway, upstream: Upstream) -> None:
    """docs/how-to/shadow.md, by its own API and commands."""
    text = page("docs/how-to/shadow.md")
    (document,) = (yaml.safe_load(block) for block in blocks(text, "yaml"))
    watch, explain = (shlex.split(block) for block in blocks(text, "sh"))
    line, report = blocks(text, "text")
    document["spec"]["upstream"]["main"]["url"] = upstream.url
    gateway.deploy(document)
    try:
        assert watch[:2] == ["gatewright", "tail"]
        with run_tail(gateway, *watch[2:]) as tail:
            for card in (PLAIN, NONE, DASHED):
                answer = httpx.post(f"{gateway.url}/payments/cards", content=f'{{"card":"{card}"}}')
                assert answer.status_code == 200
            printed = tail.line()
        assert normalize(printed) == normalize(line)
        assert explain == ["gatewright", "explain", request_id_of(line)]
        explanation = run_explain(gateway, request_id_of(printed))
        assert "shadow, changed, different" in explanation
        assert report in explanation, explanation
    finally:
        gateway.remove("payments")
