"""`gatewright tail`, `explain` and `record` of a gateway that runs, and the streams of its management API."""

from __future__ import annotations

import json
import re
import shlex
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from e2e.kit.attachments import GO_HEADERS
from e2e.kit.commands import LIMIT_SECONDS, Tail, command, followers, normalize, request_id_of, run_explain, run_tail
from e2e.kit.gateway import Gateway, Json, api, attach, credentials, eventually, fresh_name, running
from e2e.kit.markdown import blocks, page
from e2e.kit.recorded import record_exchanges, wait_for_exchanges
from e2e.kit.streaming_upstream import StreamingUpstream
from e2e.kit.upstream import Upstream

LIVE_SECONDS = 1.0


def test_explain_names_the_third_of_five_that_changes_a_header(gateway: Gateway, upstream: Upstream) -> None:
    tier = attach("add-headers", {"requestHeaders": [{"name": "x-tier", "value": "gold"}]})
    quiet = attach("pass-on")
    gateway.deploy(api("explained", upstream.url, [attach("log-message"), quiet, tier, quiet, quiet]))
    with run_tail(gateway, "--api", "explained") as tail:
        assert httpx.get(f"{gateway.url}/explained/x?a=1", headers={"x-tier": "none"}).status_code == 200
        line = tail.line()
    assert "  200  " in line
    assert "  GET /explained/x?a=1  explained GET /*  " in line
    explanation = run_explain(gateway, request_id_of(line))
    assert explanation.startswith("GET /explained/x?a=1: the upstream answered 200; ")
    changes = explanation[explanation.index("add-headers:v1.0.0, request: changed") :]
    assert changes.startswith("add-headers:v1.0.0, request: changed\n  header x-tier\n    - none\n    + gold\n")
    assert explanation.count("header x-tier") == 1, "expected one policy to be named for it"
    for policy in ("log-message", "pass-on", "add-headers"):
        assert re.search(rf"^\d  {policy}:v1.0.0 +request ", explanation, re.MULTILINE)


def test_the_page_shows_the_printed_output(gateway: Gateway, upstream: Upstream) -> None:
    """docs/how-to/why-refused.md, by its own commands."""
    text = page("docs/how-to/why-refused.md")
    watch, explain = (shlex.split(block) for block in blocks(text, "sh"))
    line, report = blocks(text, "text")
    policies = [
        attach("add-headers", {"requestHeaders": [{"name": "x-tier", "value": "gold"}]}),
        attach("raise-error", {"message": "no tenant"}),
    ]
    gateway.deploy(api("orders", upstream.url, policies, [{"method": "GET", "path": "/{id}"}]))
    assert watch[:2] == ["gatewright", "tail"]
    with run_tail(gateway, *watch[2:], "--api", "orders") as tail:
        answer = httpx.get(f"{gateway.url}/orders/7")
        printed = tail.line()
    gateway.remove("orders")  # another page has an API of this context
    assert normalize(printed) == normalize(line)
    assert explain[:2] == ["gatewright", "explain"]
    assert explain[2] == request_id_of(line)
    explanation = run_explain(gateway, answer.json()["requestId"]).replace(
        "../../", "../"
    )  # this build lies a folder deeper
    assert normalize(without_bars(explanation)) == normalize(without_bars(report))


def without_bars(text: str) -> str:
    """The page leaves them out: they are as wide as the terminal lets them."""
    return re.sub(r"(?m)  0 ms .*|  +█+$", "", text)


def deploy_failing(gateway: Gateway, upstream: Upstream, name: str, policy: Json) -> None:
    gateway.deploy(api(name, upstream.url, [GO_HEADERS, policy, GO_HEADERS]))


def test_explain_of_an_exception_has_file_and_line(gateway: Gateway, upstream: Upstream) -> None:
    deploy_failing(gateway, upstream, "explain-raise", attach("misbehave", {"how": "raise"}))
    with run_tail(gateway, "--api", "explain-raise", "--errors") as tail:
        assert httpx.get(f"{gateway.url}/explain-raise/x").status_code == 500
        line = tail.line()
    assert "misbehave:v1.0.0 failed: exception" in line
    explanation = run_explain(gateway, request_id_of(line))
    assert "the gateway answered 500 because misbehave:v1.0.0 failed in the request phase: exception" in explanation
    assert re.search(r"policies/misbehave/policy.py:\d+\n", explanation)
    assert re.search(r'^  > +\d+ +raise RuntimeError\("secret detail of the policy"\)$', explanation, re.MULTILINE)


def test_explain_names_the_late_policy(gateway: Gateway, upstream: Upstream) -> None:
    deploy_failing(gateway, upstream, "explain-late", attach("sleep", {"seconds": 0.5}, timeout="50ms"))
    with run_tail(gateway, "--api", "explain-late") as tail:
        assert httpx.get(f"{gateway.url}/explain-late/x").status_code == 504
        line = tail.line()
    assert "sleep:v1.0.0 failed: timeout" in line
    explanation = run_explain(gateway, request_id_of(line))
    assert "failed in the request phase: timeout: " in explanation
    assert re.search(r"; it was at \S*policies/sleep/policy.py:\d+;", explanation), "expected where it hung"
    assert re.search(r"^  > +\d+ +time.sleep", explanation, re.MULTILINE)


def test_a_streams_wait_for_chunks_does_not_count_as_queueing(gateway: Gateway) -> None:
    name = fresh_name("chunks")
    with StreamingUpstream() as slow:
        gateway.deploy(api(name, slow.url, [attach("pass-stream")]))
        with record_exchanges(gateway, path=f"/{name}/"):
            assert httpx.get(f"{gateway.url}/{name}/x?pieces=3&gap=0.3").status_code == 200
            (exchange,) = wait_for_exchanges(gateway, path=f"/{name}/")
    (stream,) = [execution for execution in exchange["executions"] if execution["phase"] == "response_stream"]
    assert stream["chunksMs"] >= 550, "expected the wait for two chunks"
    assert stream["durationMs"] - stream["workMs"] - stream["chunksMs"] < stream["chunksMs"]
    assert exchange["upstreamResponse"]["endMs"] - exchange["upstreamResponse"]["atMs"] >= 550
    assert re.search(r"^   \(upstream\) +[\d.]+ +\d{3,} .* 200  ", run_explain(gateway, exchange["id"]), re.MULTILINE)


def test_explain_names_the_shed_request(gateway: Gateway, upstream: Upstream) -> None:
    busy = attach("sleep", {"seconds": 5}, timeout="30s", maxConcurrency=1)
    gateway.deploy(api("explain-shed", upstream.url, [busy]))
    with run_tail(gateway, "--api", "explain-shed", "--status", "503") as tail:
        first = threading.Thread(
            target=httpx.get, args=(f"{gateway.url}/explain-shed/x",), kwargs={"timeout": 60}, daemon=True
        )
        first.start()
        eventually("the one place is taken", lambda: gateway.is_busy("explain-shed"))
        assert httpx.get(f"{gateway.url}/explain-shed/x").status_code == 503
        line = tail.line()
        first.join()
    assert "sleep:v1.0.0 failed: overloaded" in line
    assert "the gateway answered 503 because sleep:v1.0.0 failed" in run_explain(gateway, request_id_of(line))


def test_a_policys_answer_is_explained(gateway: Gateway, upstream: Upstream) -> None:
    deploy_failing(gateway, upstream, "explain-denied", attach("python-deny"))
    with run_tail(gateway, "--api", "explain-denied", "--status", "4xx") as tail:
        status = httpx.get(f"{gateway.url}/explain-denied/x").status_code
        line = tail.line()
    assert "python-deny:v1.0.0 answered" in line
    explanation = run_explain(gateway, request_id_of(line))
    assert f"python-deny:v1.0.0 answered {status} in the request phase" in explanation
    assert f"  answer {status}\n" in explanation


def test_the_filter_of_errors_shows_nothing_else(gateway: Gateway, upstream: Upstream) -> None:
    deploy_failing(gateway, upstream, "explain-errors", attach("mark", {"name": "one"}))
    deploy_failing(gateway, upstream, "explain-errors-2", attach("misbehave", {"how": "raise"}))
    with run_tail(gateway, "--path", "/explain-errors", "--errors") as tail:
        for _ in range(5):
            assert httpx.get(f"{gateway.url}/explain-errors/x").status_code == 200
        assert httpx.get(f"{gateway.url}/explain-errors-2/x").status_code == 500
        assert "/explain-errors-2/x" in tail.line()


@pytest.mark.alone
def test_an_ended_exchange_is_shown_within_a_second(gateway: Gateway, upstream: Upstream) -> None:
    """The machine is busy now and then: the quickest of a few counts."""
    deploy_failing(gateway, upstream, "explain-live", attach("mark", {"name": "one"}))
    took = []
    with run_tail(gateway, "--api", "explain-live") as tail:
        for _ in range(5):
            assert httpx.get(f"{gateway.url}/explain-live/x").status_code == 200
            ended = time.monotonic()
            took.append(tail.timed()[0] - ended)
        assert tail.end(signal.SIGINT) == (0, "")
    assert min(took) < LIVE_SECONDS
    eventually("the node is asked for nothing more", lambda: followers(gateway) == 0, 30)


def test_a_stalled_reader_delays_no_exchange(gateway: Gateway, upstream: Upstream) -> None:
    deploy_failing(gateway, upstream, "explain-slow", attach("mark", {"name": "one"}))
    address = str(gateway.process_status("controller")["listen"])
    host, _, port = address.rpartition(":")
    head = "".join(f"{name}: {value}\r\n" for name, value in credentials(gateway.run_dir).items())
    before = followers(gateway)
    with socket.create_connection((host, int(port))) as silent:
        silent.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        silent.sendall(f"GET /v1/exchanges?path=/explain-slow HTTP/1.1\r\nhost: {address}\r\n{head}\r\n".encode())
        eventually("the node is asked", lambda: followers(gateway) > before, 30)
        with run_tail(gateway, "--api", "explain-slow") as tail, httpx.Client(base_url=gateway.url) as client:
            for number in range(200):
                padding = {"x-padding": "x" * 30_000}
                assert client.get(f"/explain-slow/{number}", headers=padding).status_code == 200
                assert f"/explain-slow/{number} " in tail.line()
        with gateway.controller() as management:
            assert management.get("/v1/nodes").status_code == 200
    eventually("the node is asked for nothing more", lambda: followers(gateway) == 0, 60)


def test_exchanges_are_saved_and_kept(gateway: Gateway, upstream: Upstream, tmp_path: Path) -> None:
    name = fresh_name("explain-saved")
    deploy_failing(gateway, upstream, name, attach("mark", {"name": "one"}))
    record = Tail(gateway, "record", str(tmp_path / "saved"), "--api", name, "--limit", "2")
    eventually("the node is asked", lambda: followers(gateway) == 1, 30)
    for number in range(2):
        httpx.get(f"{gateway.url}/{name}/{number}")
    files = [Path(record.line().rstrip()) for _ in range(2)]
    assert record.end()[0] == 0
    assert [json.loads(file.read_bytes())["request"]["path"] for file in files] == [
        f"/{name}/0", f"/{name}/1",
    ]  # fmt: skip
    result = subprocess.run(
        command(gateway, "tail", "--kept", "--json", "--api", name),
        capture_output=True, check=True, timeout=LIMIT_SECONDS,
    )  # fmt: skip
    assert result.stdout == b"".join(file.read_bytes() for file in files)
    assert run_explain(gateway, str(files[0])) == run_explain(gateway, json.loads(files[0].read_bytes())["id"])


def test_a_recorded_exchange_is_explained_afterwards(gateway: Gateway, upstream: Upstream) -> None:
    deploy_failing(gateway, upstream, "explain-later", attach("misbehave", {"how": "raise"}))
    words = command(gateway, "record", "--api", "explain-later", "--errors", "--seconds", "60")
    begun = subprocess.run(words, capture_output=True, text=True, check=True, timeout=LIMIT_SECONDS).stdout
    assert followers(gateway) == 1, "expected the node to record when the command returns"
    refused = httpx.get(f"{gateway.url}/explain-later/x").json()
    with gateway.controller() as client:
        eventually(
            "the exchange is kept",
            lambda: client.get(f"/v1/exchanges/{refused['requestId']}").status_code == 200,
        )
        assert client.delete(f"/v1/recordings/{begun.split()[1]}").status_code == 204
    assert "misbehave:v1.0.0 failed in the request phase" in run_explain(gateway, refused["requestId"])
    eventually("the node records nothing more", lambda: followers(gateway) == 0, 30)


@pytest.fixture
def own_gateway(build: Path, tmp_path: Path) -> Iterator[Gateway]:
    """A gateway whose processes die."""
    with running(build, tmp_path) as gateway:
        yield gateway


def test_tail_survives_a_restart_and_explains_a_crash(own_gateway: Gateway, upstream: Upstream) -> None:
    gateway = own_gateway
    deploy_failing(gateway, upstream, "dies", attach("faulty", {"how": "exit"}))
    with run_tail(gateway, "--api", "dies") as tail:
        pid = gateway.kill("engine")
        eventually("the engine is back, and asked again", lambda: is_back(gateway, pid), 60)
        assert httpx.get(f"{gateway.url}/dies/x", timeout=30).status_code == 503
        line = tail.line()
        assert "faulty:v1.0.0 failed: crashed" in line
        explanation = run_explain(gateway, request_id_of(line))
        assert (
            "failed in the request phase: crashed: the executor process ended while it ran"
            in explanation.splitlines()[0]
        )
        assert "rpc error" not in explanation
        lost = "the executor process ended; connecting until there is one"
        eventually("the engine logs it", lambda: gateway.find_records(component="policy-engine", message=lost))
        labels = {"message": "policy failed", "requestId": request_id_of(line)}
        eventually("the failure is logged", lambda: gateway.find_records(**labels))
        (failed,) = gateway.find_records(**labels)
        assert failed["reason"] == "the executor process ended while it ran"
        assert "rpc error" in failed["cause"]

        def quarantined() -> bool:
            assert httpx.get(f"{gateway.url}/dies/x", timeout=30).status_code == 503
            return "quarantine" in run_explain(gateway, request_id_of(tail.line()))

        eventually("explain names the quarantine", quarantined, 60)


def is_back(gateway: Gateway, before: int) -> bool:
    """Whether the engine's next process serves, and has been asked again."""
    engine = gateway.process_status("engine")
    return engine["pid"] not in (None, before) and engine["state"] == "ready" and followers(gateway) == 1
