"""Executor processes that hang, stop, grow or are due are replaced by fresh ones, with every instance in them."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path

import httpx
import pytest

from e2e.kit.gateway import Gateway, Json, api, attach, eventually, running
from e2e.kit.policy_project import PolicyProject
from e2e.kit.traffic import traffic
from e2e.kit.upstream import Upstream

Start = Callable[..., Gateway]
MOODY = """\
import time

from sdk.policy import UpstreamRequestModifications, UpstreamResponseModifications

kept = []

def on_request(ctx, params):
    if params.get("hang") and "x-hang" in ctx.headers:
        time.sleep(3600)
    if params.get("leak"):
        kept.append(b"x" * (1 << 20))
    return UpstreamRequestModifications(set_headers={"x-value": params["value"]})

def on_response(ctx, params):
    return UpstreamResponseModifications(set_headers={"x-value": params["value"]})
"""
HOLDS = """\
import re

def on_request(ctx, params):
    if "x-hold" in ctx.headers:
        re.match(r"(a+)+$", "a" * 40 + "b")

def on_response(ctx, params):
    return None
"""
FORGETFUL = """\
def on_request(ctx, params):
    if params["how"] == "recurse":
        return on_request(ctx, params)
    held = [bytes(8 << 20)]
    while True:
        held.append(held[-1] + bytes(8 << 20))

def on_response(ctx, params):
    return None
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> PolicyProject:
    policies = PolicyProject(tmp_path_factory.mktemp("project"), "e2e-executors")
    policies.write_policy("moody", MOODY)
    policies.write_policy("forgetful", FORGETFUL)
    policies.write_policy("holds", HOLDS)
    return policies


@pytest.fixture
def start(project: PolicyProject, tmp_path: Path) -> Iterator[Start]:
    """start(*arguments) → a gateway of its own."""
    stack = ExitStack()

    def begin(*arguments: str) -> Gateway:
        own = "--access-log", "/dev/null"
        return stack.enter_context(running(None, tmp_path / "state", *project.arguments, *own, *arguments))

    with stack:
        yield begin


def pids(gateway: Gateway) -> set[int]:
    return {executor["pid"] for executor in gateway.executors()}


def replacements(gateway: Gateway) -> list[Json]:
    return gateway.find_records(message="executor replaced")


def value(url: str) -> str:
    answer = httpx.get(url, timeout=10)
    assert answer.status_code == 200, answer.text
    return str(answer.headers["x-value"])


def test_recycling_under_load_fails_nothing(start: Start, upstream: Upstream) -> None:
    gateway = start("--executors", "2", "--recycle-executions", "150")
    gateway.deploy(api("moody", upstream.url, [attach("moody", {"value": "a"})]))
    before = pids(gateway)
    with traffic(f"{gateway.url}/moody/x", clients=4, pause=0.02) as (flow,):
        eventually("both have been replaced, under load", lambda: len(replacements(gateway)) >= 3, 60)
        flow.wait_for(100)
    assert flow.counts().keys() == {200}, flow.problems[:3]
    assert not before & pids(gateway)
    reasons = {record["reason"].split(" of ")[0] for record in gateway.find_records(message="executor is replaced")}
    assert all(reason.startswith("it has run ") for reason in reasons), reasons


def test_a_leaking_executor_is_replaced_before_it_fails(start: Start, upstream: Upstream) -> None:
    gateway = start("--executors", "2", "--executor-memory-limit", "110MiB")
    gateway.deploy(api("leaking", upstream.url, [attach("moody", {"value": "a", "leak": True})]))
    with traffic(f"{gateway.url}/leaking/x", clients=2, pause=0.01) as (flow,):
        eventually("one has been replaced", lambda: replacements(gateway), 60)
        counted = len(flow.answers)
        eventually("traffic goes on", lambda: len(flow.answers) > counted + 50, 30)
    assert flow.counts().keys() == {200}, flow.problems[:3]
    assert "MiB of memory" in gateway.find_records(message="executor is replaced")[0]["reason"]


def test_a_policy_that_holds_the_interpreter_is_named_and_costs_one_restart(start: Start, upstream: Upstream) -> None:
    gateway = start()
    gateway.deploy(api("well", upstream.url, [attach("moody", {"value": "well"})]))
    gateway.deploy(api("held", upstream.url, [attach("holds", {})]))
    assert httpx.get(f"{gateway.url}/held/x").status_code == 200
    with traffic(f"{gateway.url}/well/x", clients=1, pause=0.05) as (flow,):
        flow.wait_for(20)
        ask = partial(httpx.get, f"{gateway.url}/held/x", headers={"x-hold": ""}, timeout=30)
        statuses = [ask().status_code for _ in range(30)]
        eventually("the neighbour is served again", flow.is_steady, 60)
    assert statuses[0] == 504
    assert statuses[-1] == 503
    (quarantine,) = [line for line in gateway.find_records() if line["message"].startswith("policy under quarantine")]
    ends = [*gateway.find_records(message="executor is replaced"), *gateway.find_records(message="executor is killed")]
    # It is killed where its successor takes long to begin.
    records = [record for record in ends if record["process"] == "executor-default-0"]
    assert records
    assert len({record["process"] for record in ends}) <= 2, "a busy machine may know of it when a second has begun"
    for record in quarantine, *records:
        assert record["policy"] == "holds:v1.0.0"
        assert record["at"].endswith("holds-v1.0.0/policy.py:5"), record
    for record in records:
        assert "holds:v1.0.0 holds the interpreter at" in record["reason"]
        assert "in on_request" in record["stack"]
    reason = f"it held the interpreter of an executor process at {quarantine['at']}"
    refused = gateway.find_records(message="policy failed", policy="holds:v1.0.0", **{"class": "crashed"})
    assert all(reason in line["reason"] for line in refused)
    (quarantined,) = json.loads(gateway.admin("engine", "/executors"))["quarantined"]
    assert (quarantined["policy"], quarantined["deaths"], quarantined["heldAt"]) == (
        "holds:v1.0.0",
        1,
        quarantine["at"],
    )


def test_endless_recursion_and_allocation_stay_the_policys_error(start: Start, upstream: Upstream) -> None:
    gateway = start("--executors", "2", "--executor-memory-limit", "128MiB")
    gateway.deploy(api("well", upstream.url, [attach("moody", {"value": "well"})]))
    for how in ("recurse", "allocate"):
        gateway.deploy(api(how, upstream.url, [attach("forgetful", {"how": how}, timeout="20s")]))
        answers = [httpx.get(f"{gateway.url}/{how}/x", timeout=30).status_code for _ in range(3)]
        assert set(answers) <= {500, 503}, answers
        eventually("the other API answers", lambda: httpx.get(f"{gateway.url}/well/x").status_code == 200)
        assert value(f"{gateway.url}/well/x") == "well"
    if 500 in answers:  # allocation raised MemoryError, and the process did not end of it
        eventually("a process without memory is replaced", lambda: replacements(gateway), 30)
        assert any("memory" in record["reason"] for record in gateway.find_records(message="executor is replaced"))


def test_fifty_hung_calls_delay_no_other_and_the_process_is_replaced(start: Start, upstream: Upstream) -> None:
    gateway = start("--py.hung-seconds", "2")
    names = [f"other-{number}" for number in range(3)]
    gateway.deploy(api("hung", upstream.url, [attach("moody", {"value": "hung", "hang": True}, timeout="500ms")]))
    for name in names:
        gateway.deploy(api(name, upstream.url, [attach("moody", {"value": name})]))
    (before,) = pids(gateway)
    with traffic(*(f"{gateway.url}/{name}/x" for name in names), clients=1, pause=0.05) as flows:
        send_hanging(f"{gateway.url}/hung/x", 50)
        eventually("it is replaced", lambda: replacements(gateway), 30)
        eventually("the old one is gone", lambda: len(gateway.executors()) == 1 and before not in pids(gateway))
    for flow in flows:
        assert flow.counts().keys() == {200}, flow.problems[:3]
    assert [value(f"{gateway.url}/{name}/x") for name in names] == names
    assert value(f"{gateway.url}/hung/x") == "hung"
    assert_logged(gateway)


def send_hanging(url: str, count: int) -> None:
    """Sends so many requests that hang, at once, and waits: those that got a slot time out, others may be refused."""
    statuses: list[int] = []
    threads = [
        threading.Thread(
            target=lambda: statuses.append(httpx.get(url, headers={"x-hang": "1"}, timeout=20).status_code)
        )
        for _ in range(count)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert 504 in statuses
    assert set(statuses) <= {503, 504}
    assert len(statuses) == count


def assert_logged(gateway: Gateway) -> None:
    """The log names policy, attachment and the age of the oldest; the reason of the replacement does too."""
    hung = [record for record in gateway.records() if record["message"].startswith("executions of a policy hang")]
    assert hung
    assert (hung[0]["policy"], hung[0]["api"]) == ("moody:v1.0.0", "hung")
    assert hung[0]["instance"]
    assert hung[0]["oldest"].endswith("s")
    reason = gateway.find_records(message="executor is replaced")[0]["reason"]
    match = re.match(
        r"(\d+) of its 32 workers hang: moody:v1.0.0 of API hung, instance \w+ \(\d+, the oldest for", reason
    )
    assert match, reason
    assert 8 <= int(match[1]) <= 16  # the limit, and all that one attachment may have under way


def test_a_stopped_process_is_replaced(start: Start, upstream: Upstream) -> None:
    gateway = start("--executors", "2")
    gateway.deploy(api("moody", upstream.url, [attach("moody", {"value": "a"})]))
    with traffic(f"{gateway.url}/moody/x", clients=2, pause=0.03) as (flow,):
        eventually("some traffic", lambda: len(flow.answers) > 20)
        stopped = gateway.kill(gateway.executors()[0]["name"], signal.SIGSTOP)
        eventually("it is silent for too long", lambda: gateway.find_records(message="executor is replaced"))
        eventually("another has come", lambda: len(pids(gateway)) == 2 and stopped not in pids(gateway))
        eventually("requests pass again", flow.is_steady)
        failures = flow.failures()
        flow.wait_for(50)
        assert flow.failures() == failures, "requests went on failing although another process was there"
        with suppress(ProcessLookupError):
            os.kill(stopped, signal.SIGKILL)  # or the gateway's stop waits for it
    assert flow.counts().keys() <= {200, 504, 500}, flow.problems[:3]
