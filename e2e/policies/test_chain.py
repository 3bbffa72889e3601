"""One request through Go → Python → Go on a real Envoy, both ways."""

from __future__ import annotations

import json

import httpx
import pytest

from e2e.kit.attachments import GO_HEADERS, SAMPLE
from e2e.kit.engine_differences import differs_in_envoy
from e2e.kit.gateway import Gateway, api, attach, eventually
from e2e.kit.upstream import Recorded, Reply, Upstream


@pytest.mark.in_envoy_too
def test_a_go_python_go_chain_runs_in_both_phases(gateway: Gateway, upstream: Upstream) -> None:
    gateway.deploy(api("sample", upstream.url, SAMPLE))
    answer = httpx.get(f"{gateway.url}/sample/7?q=1")
    assert answer.status_code == 200
    (request,) = upstream.received
    assert request.target == "/7?q=1"
    assert request.value("X-Go-Policy") == "go"
    assert request.value("X-Python-Policy")
    assert answer.headers["X-Go-Policy"] == "go"
    assert answer.headers["X-Python-Policy"]
    assert answer.headers["x-upstream"] == "yes"


@pytest.mark.in_envoy_too
def test_requests_pass_the_list_in_order_and_responses_in_reverse(gateway: Gateway, upstream: Upstream) -> None:
    look = ["x-go-policy"]
    first, last = (attach("mark", {"name": name, "look": look}) for name in ("first", "last"))
    gateway.deploy(api("order", upstream.url, [attach("log-message", {"message": "order"}), first, GO_HEADERS, last]))
    answer = httpx.get(f"{gateway.url}/order/x")
    (request,) = upstream.received
    assert request.values("x-order") == [b"first()", b"last(x-go-policy)"]
    assert answer.headers.get_list("x-order") == ["last()", "first(x-go-policy)"]


@pytest.mark.in_envoy_too
def test_api_level_policies_come_before_the_operations_own(gateway: Gateway, upstream: Upstream) -> None:
    own = {"method": "GET", "path": "/a", "policies": [attach("mark", {"name": "operation"})]}
    gateway.deploy(api("levels", upstream.url, [attach("mark", {"name": "api"})], [own]))
    httpx.get(f"{gateway.url}/levels/a")
    assert upstream.received[0].values("x-order") == [b"api()", b"operation()"]


def test_a_python_policy_that_answers_is_seen_by_those_before_it(gateway: Gateway, upstream: Upstream) -> None:
    before, after = attach("mark", {"name": "before"}), attach("mark", {"name": "after"})
    gateway.deploy(api("denied", upstream.url, [GO_HEADERS, before, attach("python-deny"), after]))
    answer = httpx.get(f"{gateway.url}/denied/x")
    assert answer.status_code == 401
    assert upstream.received == []
    assert answer.headers.get_list("x-order") == ["before()"]
    assert answer.headers["X-Go-Policy"] == "go"


def test_a_python_policy_rewrites_a_json_body_both_ways(gateway: Gateway, upstream: Upstream) -> None:
    def reply(request: Recorded) -> Reply:
        return Reply(
            200, [("content-type", "application/json")], json.dumps({"got": json.loads(request.body)}).encode()
        )

    upstream.reply = reply
    gateway.deploy(api("rewrite", upstream.url, [attach("log-message"), attach("rewrite-json"), GO_HEADERS]))
    answer = httpx.post(f"{gateway.url}/rewrite/x", json={"a": 1})
    (request,) = upstream.received
    inner, outer = json.loads(request.body), answer.json()
    assert inner.pop("a") == 1
    assert inner, "expected a field that the policy added to the request"
    assert outer.pop("got") == json.loads(request.body)
    assert outer, "expected a field that the policy added to the response"
    assert request.value("content-length") == str(len(request.body))
    assert answer.headers["content-length"] == str(len(answer.content))


def test_a_python_policy_that_raises_is_a_500_without_internals(gateway: Gateway, upstream: Upstream) -> None:
    gateway.deploy(api("raises", upstream.url, [GO_HEADERS, attach("misbehave", {"how": "raise"})]))
    answer = httpx.get(f"{gateway.url}/raises/x")
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["requestId"]
    assert "secret" not in answer.text
    assert answer.headers["X-Go-Policy"] == "go"
    assert upstream.received == []


def test_the_sample_of_the_documentation_works_as_written(gateway: Gateway, upstream: Upstream) -> None:
    gateway.deploy(api("design", upstream.url, [attach("design-sample")]))
    assert httpx.get(f"{gateway.url}/design/x").status_code == 200
    assert upstream.received[0].value("X-Custom") == "value"


@differs_in_envoy("Envoy's statistics of `ext_proc` count the requests whose policies read a body, and no others.")
def test_an_api_without_policies_never_calls_the_engine(gateway: Gateway, upstream: Upstream) -> None:
    gateway.deploy(api("bare", upstream.url))
    before = gateway.envoy_stat("ext_proc.streams_started")
    assert httpx.get(f"{gateway.url}/bare/x").status_code == 200
    assert httpx.get(f"{gateway.url}/no-such-api").status_code == 404
    assert gateway.envoy_stat("ext_proc.streams_started") == before
    gateway.deploy(api("bare", upstream.url, [GO_HEADERS]))
    assert httpx.get(f"{gateway.url}/bare/x").headers["X-Go-Policy"] == "go"
    assert gateway.envoy_stat("ext_proc.streams_started") == before + 1


@pytest.mark.parametrize(
    "value",
    [{"list": [1, [2, None]], "none": None, "yes": True, "n": 9007199254740993, "f": 1.5, "s": "ü"}, None, 2**70],
)
def test_parameters_and_metadata_are_plain_python_values(gateway: Gateway, upstream: Upstream, value: object) -> None:
    gateway.deploy(api("plain", upstream.url, [attach("share", {"value": value})]))
    answer = httpx.get(f"{gateway.url}/plain/x")
    request = upstream.received[0].value("x-params")
    assert request is not None
    parameters, is_dict, inner = json.loads(request)
    assert parameters == value
    assert is_dict == isinstance(value, dict)
    if isinstance(value, dict):
        assert inner == {"list": "list", "none": "NoneType", "yes": "bool", "n": "int", "f": "float", "s": "str"}
    assert json.loads(answer.headers["x-metadata"])[0] == value


def test_policies_log_with_policy_and_request_id(gateway: Gateway, upstream: Upstream) -> None:
    gateway.deploy(api("logged", upstream.url, [attach("log-message", {"message": "logged-here"})]))
    httpx.get(f"{gateway.url}/logged/x")
    request_id = upstream.received[0].value("x-request-id")

    def is_it(record: dict[str, object]) -> bool:
        return "logged-here" in str(record) and record.get("requestId") == request_id

    eventually("the policy's line", lambda: any(map(is_it, gateway.records())))
