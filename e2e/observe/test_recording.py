"""Exchanges that are recorded say which policy did what, and why there was no other answer."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from e2e.kit.attachments import GO_HEADERS
from e2e.kit.gateway import Gateway, api, attach, eventually, running
from e2e.kit.places import ROOT
from e2e.kit.recorded import (
    admin,
    execution_members,
    failed_execution,
    kept_exchanges,
    record_exchanges,
    wait_for_exchanges,
)
from e2e.kit.upstream import Upstream

SECRET = "hunter2-hunter2"  # noqa: S105 - looked for in what is recorded


def test_the_third_of_five_changes_a_header(gateway: Gateway, upstream: Upstream) -> None:
    """Go → Python → Go → Python → Python."""
    tier = attach("add-headers", {"requestHeaders": [{"name": "x-tier", "value": "gold"}]})
    quiet, marked = attach("pass-on"), attach("mark", {"name": "four"})
    gateway.deploy(api("five", upstream.url, [attach("log-message"), quiet, tier, marked, quiet]))
    with record_exchanges(gateway, api="five"):
        answer = httpx.get(f"{gateway.url}/five/x?a=1", headers={"x-tier": "none", "authorization": SECRET})
        (exchange,) = wait_for_exchanges(gateway, api="five")
    assert exchange["policies"] == [
        "log-message:v1.0.0", "pass-on:v1.0.0", "add-headers:v1.0.0", "mark:v1.0.0", "pass-on:v1.0.0",
    ]  # fmt: skip
    changed = [execution for execution in exchange["executions"] if execution["outcome"] == "changed"]
    changes = {(execution["index"], execution["phase"]): execution["changes"] for execution in changed}
    assert changes[2, "request"] == [{"what": "header", "name": "x-tier", "before": ["none"], "after": ["gold"]}]
    assert [index for index, phase in changes if phase == "request"] == [2, 3]
    assert (exchange["answeredBy"], exchange["outcome"], exchange["operation"]) == ("upstream", "completed", "GET /*")
    assert ["x-tier", "none"] in exchange["request"]["headers"]
    assert ["x-tier", "gold"] in exchange["forwarded"]["headers"]
    assert exchange["response"]["status"] == answer.status_code == 200
    assert exchange["request"]["query"] == "a=1"
    assert ["authorization", "[redacted]"] in exchange["request"]["headers"]
    assert 0 < exchange["forwarded"]["atMs"] < exchange["upstreamResponse"]["atMs"] < exchange["durationMs"]


def test_a_policys_secret_appears_in_no_recording(gateway: Gateway, upstream: Upstream) -> None:
    """The API has chosen the header, which is in no list of names."""
    token = "purge-token-that-nobody-is-to-see"  # noqa: S105 - looked for in what is recorded
    purge = {"header": "x-flush", "token": token}
    gateway.deploy(api("purged", upstream.url, [attach("response-cache", {"where": "store", "purge": purge})]))
    with record_exchanges(gateway, api="purged"):
        assert httpx.get(f"{gateway.url}/purged/x?again={token}", headers={"x-flush": token}).status_code == 204
        (exchange,) = wait_for_exchanges(gateway, api="purged")
    assert token not in json.dumps(exchange)
    assert ["x-flush", "[redacted]"] in exchange["request"]["headers"]
    assert exchange["redacted"] == 2


def test_a_policy_that_raises_is_named_with_file_and_line(gateway: Gateway, upstream: Upstream) -> None:
    policies = [GO_HEADERS, attach("misbehave", {"how": "raise"}), GO_HEADERS]
    gateway.deploy(api("raises", upstream.url, policies))
    with record_exchanges(gateway, api="raises", errors=True):
        answer = httpx.get(f"{gateway.url}/raises/x")
        (exchange,) = wait_for_exchanges(gateway, api="raises")
    assert answer.status_code == 500
    failed = failed_execution(exchange)
    assert (failed["policy"], failed["class"], failed["outcome"]) == ("misbehave", "exception", "failed")
    source = ROOT / "e2e" / "kit" / "policies" / "misbehave" / "policy.py"
    assert failed["file"].endswith("policies/misbehave/policy.py")
    assert "secret detail" in source.read_text().splitlines()[failed["line"] - 1]
    assert (exchange["answeredBy"], exchange["details"]) == ("failure", "policy_exception")
    assert "forwarded" not in exchange
    assert execution_members(exchange, "index", "phase") == [(0, "request"), (1, "request"), (0, "response")]


def test_a_policy_that_is_late_is_named(gateway: Gateway, upstream: Upstream) -> None:
    late = attach("sleep", {"seconds": 0.5}, timeout="50ms")
    gateway.deploy(api("late", upstream.url, [GO_HEADERS, late, GO_HEADERS]))
    with record_exchanges(gateway, api="late"):
        assert httpx.get(f"{gateway.url}/late/x").status_code == 504
        (exchange,) = wait_for_exchanges(gateway, api="late")
    failed = failed_execution(exchange)
    assert (failed["policy"], failed["class"], failed["outcome"]) == ("sleep", "timeout", "failed")
    assert "its timeout is 50ms" in failed["message"]
    assert exchange["details"] == "policy_timeout"


def test_a_policy_that_is_shed_is_named(gateway: Gateway, upstream: Upstream) -> None:
    busy = attach("sleep", {"seconds": 5}, timeout="30s", maxConcurrency=1)
    gateway.deploy(api("busy", upstream.url, [busy]))
    with record_exchanges(gateway, api="busy", status="503"):
        first = threading.Thread(target=httpx.get, args=(f"{gateway.url}/busy/x",), kwargs={"timeout": 60})
        first.start()
        eventually("the one place is taken", lambda: _runs(gateway, "busy"))
        assert httpx.get(f"{gateway.url}/busy/x").status_code == 503
        first.join()
        (exchange,) = wait_for_exchanges(gateway, api="busy")
    failed = failed_execution(exchange)
    assert (failed["policy"], failed["class"], failed["outcome"]) == ("sleep", "overloaded", "failed")
    assert "maxConcurrency" in failed["message"]


def _runs(gateway: Gateway, name: str) -> bool:
    """Whether an execution is under way in one of the API's chains, which share the instance."""
    chains = json.loads(gateway.admin("engine", "/chains"))
    return any(instance["active"] for chain in chains if chain["api"] == name for instance in chain["instances"])


def test_a_failure_that_the_exchange_goes_on_after_is_named(gateway: Gateway, upstream: Upstream) -> None:
    policies = [attach("misbehave", {"how": "raise"}, onError="continue"), GO_HEADERS]
    gateway.deploy(api("goes-on", upstream.url, policies))
    with record_exchanges(gateway, api="goes-on", errors=True):
        assert httpx.get(f"{gateway.url}/goes-on/x").status_code == 200
        (exchange,) = wait_for_exchanges(gateway, api="goes-on")
    assert failed_execution(exchange)["outcome"] == "continued"
    assert exchange["answeredBy"] == "upstream"


def test_a_policys_answer_is_named(gateway: Gateway, upstream: Upstream) -> None:
    gateway.deploy(api("denied", upstream.url, [GO_HEADERS, attach("python-deny"), GO_HEADERS]))
    with record_exchanges(gateway, api="denied"):
        answer = httpx.get(f"{gateway.url}/denied/x")
        (exchange,) = wait_for_exchanges(gateway, api="denied")
    (answered,) = [execution for execution in exchange["executions"] if execution["outcome"] == "answered"]
    assert answered["policy"].startswith("python-deny:")
    (change,) = [change for change in answered["changes"] if change["what"] == "answer"]
    assert change["after"]["status"] == answer.status_code == exchange["response"]["status"]
    assert (exchange["answeredBy"], exchange["details"]) == ("policy", "policy_answer")


def test_bodies_and_streams_are_recorded(gateway: Gateway, upstream: Upstream) -> None:
    gateway.deploy(
        api("masked", upstream.url, [attach("rewrite-json", {"field": "seen", "value": "yes"}), attach("pass-stream")])
    )
    with record_exchanges(gateway, api="masked"):
        body = {"kept": 1, "password": SECRET}
        assert httpx.post(f"{gateway.url}/masked/x?token={SECRET}", json=body).status_code == 200
        (exchange,) = wait_for_exchanges(gateway, api="masked")
    assert SECRET not in str(exchange)
    assert '"kept":1' in exchange["request"]["body"]["text"]
    assert exchange["request"]["query"] == "token=[redacted]"
    assert exchange["redacted"] >= 2
    assert exchange["forwarded"]["body"]["size"] == len(upstream.received[-1].body)
    assert "stream" in str(execution_members(exchange, "phase"))


def test_faults_outside_of_policies_are_recorded(gateway: Gateway, upstream: Upstream) -> None:
    gateway.deploy(api("large", upstream.url, [GO_HEADERS]))
    with record_exchanges(gateway, api="large"):
        assert httpx.get(f"{gateway.url}/large/x", headers={f"x-{n}": "1" for n in range(120)}).status_code == 431
        (exchange,) = wait_for_exchanges(gateway, api="large")
    assert (exchange["answeredBy"], exchange["details"]) == ("gateway", "headers_too_large")
    assert exchange["executions"] == []


def test_nothing_is_recorded_unless_it_is_requested(gateway: Gateway, upstream: Upstream) -> None:
    gateway.deploy(api("quiet", upstream.url, [GO_HEADERS]))
    assert httpx.get(f"{gateway.url}/quiet/x").status_code == 200
    with record_exchanges(gateway, api="quiet", header={"name": "x-debug"}):
        assert httpx.get(f"{gateway.url}/quiet/x").status_code == 200
        assert httpx.get(f"{gateway.url}/quiet/y", headers={"x-debug": "1"}).status_code == 200
        (exchange,) = wait_for_exchanges(gateway, api="quiet")
    assert exchange["request"]["path"] == "/quiet/y"
    assert httpx.get(f"{gateway.url}/quiet/x", headers={"x-debug": "1"}).status_code == 200
    assert len(kept_exchanges(gateway, api="quiet")) == 1


@pytest.fixture
def own_gateway(build: Path, tmp_path: Path) -> Iterator[Gateway]:
    """A gateway whose executors die."""
    with running(build, tmp_path) as gateway:
        yield gateway


def test_a_policy_that_ends_its_process_is_named_and_so_is_its_quarantine(
    own_gateway: Gateway, upstream: Upstream
) -> None:
    own_gateway.deploy(api("dies", upstream.url, [GO_HEADERS, attach("faulty", {"how": "exit"}), GO_HEADERS]))

    def quarantined() -> bool:
        assert httpx.get(f"{own_gateway.url}/dies/x", timeout=30).status_code == 503
        return any(
            "quarantine" in failed_execution(exchange)["message"]
            for exchange in kept_exchanges(own_gateway, api="dies")
        )

    with record_exchanges(own_gateway, api="dies"):
        eventually("the policy is under quarantine", quarantined, 60)
        exchanges = kept_exchanges(own_gateway, api="dies")
    crashed = [failed for failed in map(failed_execution, exchanges) if failed["class"] == "crashed"]
    assert {failed["policy"] for failed in crashed} == {"faulty"}
    assert {"quarantine" in failed["message"] for failed in crashed} == {True, False}
    with admin(own_gateway) as client:
        stats = client.get("/recordings").json()
    assert stats["keptBytes"] <= stats["maxBytes"] / 2 == 8 * 1024**2
