"""The logs of a node: the access log, and log lines of one form from all its processes, whatever these write."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from e2e.kit.gateway import Gateway, Json, api, attach, eventually, fresh_name, running
from e2e.kit.model_upstream import ModelUpstream
from e2e.kit.processes import resident_memory_of
from e2e.kit.upstream import Recorded, Reply, Upstream
from e2e.kit.wire import Shape, http1, http2

FORM = re.compile(
    r'\{"time":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z","level":"(debug|info|warning|error)",'
    r'"component":"(supervisor|controller|python-executor|policy-engine|envoy)","message":"'
)
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
MANY = 100_000
CLAIM = [("x-forwarded-host", "evil.test"), ("x-envoy-original-path", "/evil")]
ENVOYS_OWN_SECONDS = 10.0
"""The interval after which Envoy flushes its access log by default."""


def fail_by_target(request: Recorded) -> Reply:
    return Reply(503 if "fails" in request.target else 200)


def with_setting(document: Json, **settings: object) -> Json:
    document["spec"] |= settings
    return document


# ---------------------------------------------------------------- the access log


REQUESTED = 100


def test_access_lines_come_in_order_within_a_second(gateway: Gateway, upstream: Upstream) -> None:
    gateway.deploy(api("prompt", upstream.url))
    with httpx.Client() as client:
        for number in range(REQUESTED):
            client.get(f"{gateway.url}/prompt/{number}")
    eventually("the lines come", lambda: len(gateway.access_records("prompt")) == REQUESTED, 0.8 * ENVOYS_OWN_SECONDS)
    paths = [line["path"] for line in gateway.access_records("prompt")]
    assert paths == [f"/prompt/{number}" for number in range(REQUESTED)]


def test_a_request_has_one_short_line_on_stdout(gateway: Gateway, upstream: Upstream) -> None:
    gateway.deploy(api("short", upstream.url))
    answer = httpx.get(f"{gateway.url}/short/x?y=1")
    assert answer.status_code == 200
    eventually("the line comes", lambda: gateway.access_records("short"))
    (line,) = gateway.access_records("short")
    assert (line["method"], line["path"], line["status"], line["message"]) == ("GET", "/short/x?y=1", 200, "request")
    assert TIME.fullmatch(line["time"])
    assert None not in line.values()
    assert len(json.dumps(line)) < 500
    assert any('"path":"/short/x' in line for line in gateway.printed)
    assert not any('"path":"/short/x' in line for line in gateway.log)


def test_streams_leave_values_at_their_end_beside_those_of_actions(gateway: Gateway, upstream: Upstream) -> None:
    chain = [attach("leak", {"password": "p", "raises": False}), attach("pass-stream", {"reports": True})]
    gateway.deploy(api("leaves", upstream.url, chain))
    upstream.reply = lambda _: Reply(200, [], b"answer")
    for path, body in (("/leaves/whole", b"four"), ("/leaves/empty", b"")):
        assert httpx.post(gateway.url + path, content=body).content == b"answer"
    eventually("both lines come", lambda: len(gateway.access_records("leaves")) == 2)
    for line, size in zip(gateway.access_records("leaves"), (4, 0), strict=True):
        assert line["analytics"].pop("asked").startswith("/leaves/")
        line["analytics"].pop("access_token", None)
        assert line["analytics"] == {"model": "small", "request": {"passed": size}, "response": {"passed": 6}}


def test_a_client_that_leaves_keeps_the_end_of_a_stream_out_of_the_access_log(gateway: Gateway) -> None:
    with ModelUpstream() as model, model.answer_with([b"a", b"b", b"c"], permits=1):
        gateway.deploy(api("broken", model.url, [attach("pass-stream", {"reports": True})]))
        with httpx.stream("POST", f"{gateway.url}/broken/x", content=b"four", timeout=30) as answer:
            next(answer.iter_bytes())
        eventually("the line comes", lambda: gateway.access_records("broken"))
    (line,) = gateway.access_records("broken")
    assert line["analytics"] == {"request": {"passed": 4}}


CHOSEN = {"path": "/asked/elsewhere", "query": "n=2", "authority": "elsewhere.test"}
ASKED = {
    "/asked/plain/a%20b?q=1": 200,  # goes upstream by another path, to another host
    "/asked/chosen/x?q=1": 200,  # and a policy has chosen others
    "/asked/refused/x?q=1": 403,
    "/asked/plain/x%2fy?q=1": 307,  # Envoy rewrites it for the answer
    "/asked/nowhere?q=1": 404,
}


def test_an_access_line_has_the_clients_original_request(gateway: Gateway, upstream: Upstream) -> None:
    gateway.deploy(sampled_api("asked", upstream.url))
    for path, status in ASKED.items():
        answer = http1(gateway.port, path, Shape("asked", "GET", headers=CLAIM))
        assert answer.status == status, path
    assert http1(gateway.port, "/asked/plain/x", Shape("asked", "OPTIONS", headers=CLAIM)).status == 204
    gateway.deploy(sampled_api("asked", "http://127.0.0.1:9"))
    for path in ("/asked/plain/away", "/asked/chosen/away"):
        assert http1(gateway.port, path, Shape("asked", "GET", headers=CLAIM)).status == 503
    paths = [*ASKED, "/asked/plain/x", "/asked/plain/away", "/asked/chosen/away"]
    eventually("the lines come", lambda: len(gateway.access_records("asked")) == len(paths))
    lines = gateway.access_records("asked")
    assert [line["path"] for line in lines] == paths
    assert {line["authority"] for line in lines} == {"test.local"}


def sampled_api(name: str, url: str) -> Json:
    refusing, choosing = attach("deny-headers"), attach("retarget", CHOSEN)
    operations: list[Json] = [
        {"method": "GET", "path": "/plain/*"},
        {"method": "GET", "path": "/chosen/*", "policies": [choosing]},
        {"method": "GET", "path": "/refused/*", "policies": [refusing]},
    ]
    return with_setting(api(name, url, [], operations), strictPaths=False)


@pytest.fixture(scope="module")
def quiet_gateway(
    build: Path, tmp_path_factory: pytest.TempPathFactory, recording_upstream: Upstream
) -> Iterator[Gateway]:
    """A stopped gateway with few lines: a fifth of the access log, and no level below warning."""
    options = ("--access-log-sample", f"{SAMPLED_SHARE}", "--log-level", "warning")
    with running(build, tmp_path_factory.mktemp("quiet"), *options) as gateway:
        gateway.deploy(api("some", recording_upstream.url, [attach("log-message")]))
        recording_upstream.reply = fail_by_target
        try:
            with httpx.Client(base_url=gateway.url) as client:
                for number in range(SAMPLED):
                    assert client.get(f"/some/{number}").status_code == 200
                for number in range(20):
                    assert client.get(f"/some/fails-{number}").status_code == 503
        finally:
            recording_upstream.reset()
        gateway.stop()
        yield gateway


SAMPLED, SAMPLED_SHARE = 400, 0.2


def test_sampling_keeps_the_line_of_every_error(quiet_gateway: Gateway) -> None:
    lines = quiet_gateway.access_records("some")
    assert sum(line["status"] == 503 for line in lines) == 20
    assert 32 < sum(line["status"] == 200 for line in lines) < 128  # 80 ± 6 standard deviations


def test_one_option_sets_the_log_level(quiet_gateway: Gateway) -> None:
    """But for a folder that a policy asks for and the node has not: this comes before the executor has a level."""
    lines = [line for line in quiet_gateway.log if "is not opened to the policies that ask for it" not in line]
    assert [line for line in lines if '"level":"info"' in line] == []


def test_an_api_chooses_which_requests_have_access_lines(gateway: Gateway, upstream: Upstream) -> None:
    upstream.reply = fail_by_target
    every, errors, quiet = fresh_name("every"), fresh_name("errors"), fresh_name("quiet")
    for name, lines in ((every, "all"), (errors, "errors"), (quiet, "none")):
        gateway.deploy(with_setting(api(name, upstream.url, [attach("mark", {"name": name})]), accessLog=lines))
    for path in ("x", "fails"):
        for name in (quiet, errors, every):
            httpx.get(f"{gateway.url}/{name}/{path}")
    eventually("the last line comes", lambda: len(gateway.access_records(every)) == 2)
    assert [line["status"] for line in gateway.access_records(every)] == [200, 503]
    assert [line["status"] for line in gateway.access_records(errors)] == [503]
    assert gateway.access_records(quiet) == []
    gateway.deploy(with_setting(api(quiet, upstream.url), accessLog="all"))
    httpx.get(f"{gateway.url}/{quiet}/x")
    eventually("now it has lines", lambda: gateway.access_records(quiet))


GRPC = Shape("gRPC", headers=[("content-type", "application/grpc"), ("te", "trailers")], data=[b"\0\0\0\0\0"])


def test_an_access_line_of_a_grpc_call_has_its_status(gateway: Gateway, upstream: Upstream) -> None:
    upstream.reply = fail_by_target
    gateway.deploy(api("denies-calls", upstream.url, [attach("deny-headers")]))
    assert http2(gateway.port, "/denies-calls/x", GRPC).value("grpc-status") == "7"
    assert httpx.get(f"{gateway.url}/denies-calls/x").status_code == 403
    eventually("the lines come", lambda: len(gateway.access_records("denies-calls")) == 2)
    call, request = gateway.access_records("denies-calls")
    assert (call["status"], call["grpcStatus"]) == (200, 7)
    assert request["status"] == 403
    assert "grpcStatus" not in request


def test_a_grpc_call_that_fails_is_an_error(gateway: Gateway, upstream: Upstream) -> None:
    upstream.reply = fail_by_target
    for name, policy in (
        ("calls-denied", attach("deny-headers")),
        ("calls-fail", attach("misbehave", {"how": "raise"})),
    ):
        gateway.deploy(with_setting(api(name, upstream.url, [policy]), accessLog="errors"))
        assert http2(gateway.port, f"/{name}/x", GRPC).status == 200
    eventually("the line comes", lambda: gateway.access_records("calls-fail"))
    (line,) = gateway.access_records("calls-fail")
    assert (line["status"], line["grpcStatus"]) == (200, 13)
    assert gateway.access_records("calls-denied") == []


# ---------------------------------------------------------------- all other lines


@pytest.fixture(scope="module")
def stopped_gateway(
    build: Path, tmp_path_factory: pytest.TempPathFactory, recording_upstream: Upstream
) -> Iterator[Gateway]:
    """A stopped gateway after many failures, and requests until the last moment: its log is complete."""
    with (
        pytest.MonkeyPatch.context() as patch,
        running_in("UTC-9", patch, build, tmp_path_factory.mktemp("state"), "--envoy.log-level", "info") as gateway,
    ):
        for trouble in ("forged", "garbage", "long", "traceback"):
            gateway.deploy(api(trouble, recording_upstream.url, [attach("say", {"what": trouble})]))
            assert httpx.get(f"{gateway.url}/{trouble}/x").status_code == 200
        gateway.deploy(api("raises", recording_upstream.url, [attach("misbehave", {"how": "raise"})]))
        assert httpx.get(f"{gateway.url}/raises/x").status_code == 500
        with gateway.controller() as client:
            client.post("/v1/apis", json={"kind": "Api"})
        killed = [gateway.kill(name) for name in ("executor-default-0", "engine", "controller")]
        eventually("all are back", lambda: _all_ready(gateway) and not set(killed) & set(_pids(gateway)), 30)
        gateway.deploy(api("last", recording_upstream.url, [attach("log-message")]))
        with httpx.Client(base_url=gateway.url) as client:
            for number in range(LAST):
                assert client.get(f"/last/{number}").status_code == 200
        gateway.stop()
        yield gateway


def running_in(zone: str, patch: pytest.MonkeyPatch, *arguments: Any) -> AbstractContextManager[Gateway]:
    """A gateway on a machine in another time zone."""
    patch.setenv("TZ", zone)
    return running(*arguments)


def _pids(gateway: Gateway) -> list[int]:
    return [process["pid"] for process in gateway.status()["processes"]]


def _all_ready(gateway: Gateway) -> bool:
    return all(process["state"] == "ready" for process in gateway.status()["processes"])


LAST = 200


def test_a_stop_loses_no_line(stopped_gateway: Gateway) -> None:
    paths = [line["path"] for line in stopped_gateway.access_records("last")]
    assert paths == [f"/last/{number}" for number in range(LAST)]
    assert len(stopped_gateway.find_records(component="policy-engine", message="request", api="last")) == 2 * LAST


def test_every_line_of_every_component_has_the_same_form(stopped_gateway: Gateway) -> None:
    assert [line for line in stopped_gateway.log if not FORM.match(line)] == []
    records = [json.loads(line) for line in stopped_gateway.log]
    components = {record["component"] for record in records}
    assert components == {"supervisor", "controller", "python-executor", "policy-engine", "envoy"}
    assert {"info", "warning", "error"} <= {record["level"] for record in records}
    assert not any("exception" in record for record in records)
    now = datetime.now(UTC)
    assert all(timedelta(0) < now - datetime.fromisoformat(record["time"]) < timedelta(hours=1) for record in records)


def test_no_process_writes_lines_for_another(stopped_gateway: Gateway) -> None:
    forged = [record for record in stopped_gateway.records() if "forged" in record["message"]]
    records = [record for record in forged if record["message"].startswith("{")]
    assert len(records) == 3
    assert {(record["component"], record["level"]) for record in records} == {("python-executor", "info")}
    assert all(record["time"] > "2020" for record in forged)


def test_garbage_and_long_lines_lose_nothing_else(stopped_gateway: Gateway) -> None:
    messages = [record["message"] for record in stopped_gateway.find_records(component="python-executor")]
    assert "\x00\\xff\x1b[2J" in messages
    assert "no end" in messages
    (long,) = (message for message in messages if message.startswith("long "))
    assert long.endswith(" [line cut]")
    assert len(long) < 70_000


def test_a_traceback_is_one_field(stopped_gateway: Gateway) -> None:
    (line,) = stopped_gateway.find_records(message="it failed")
    assert (line["level"], line["policy"]) == ("error", "say:v1.0.0")
    assert line["error"].endswith("ValueError: why")


def test_a_traceback_in_text_format_has_several_lines(build: Path, tmp_path: Path, upstream: Upstream) -> None:
    with running(build, tmp_path, "--log-format", "text") as gateway:
        gateway.deploy(api("told", upstream.url, [attach("misbehave", {"how": "raise"})]))
        assert httpx.get(f"{gateway.url}/told/x").status_code == 500
        eventually("its last line", lambda: any("RuntimeError: secret" in line for line in gateway.log))
        eventually(
            "the access line", lambda: any("access             │ GET /told/x 500" in line for line in gateway.printed)
        )
    at = next(number for number, line in enumerate(gateway.log) if "Traceback (most recent call last)" in line)
    assert "│ ERROR on_request failed" in gateway.log[at - 1]
    assert re.fullmatch(r' {33}│     File ".+", line \d+, in on_request', gateway.log[at + 1])
    assert gateway.log[at + 1].index("│") == gateway.log[at].index("│") == gateway.log[at - 1].index("│")


class Unread(Gateway):
    """A gateway whose log is unread until `read` is set."""

    def __init__(self, *arguments: Any) -> None:
        self.read = threading.Event()
        super().__init__(*arguments)

    def _read(self, pipe: Any, lines: list[str]) -> None:
        if lines is self.log:
            self.read.wait()
        super()._read(pipe, lines)


def test_an_unread_log_stops_no_request(build: Path, tmp_path: Path, upstream: Upstream) -> None:
    """Half a million lines are more than there is room for: the rest is dropped and counted."""
    gateway = Unread(build, tmp_path)
    try:
        gateway.wait_ready()
        gateway.deploy(api("burst", upstream.url, [attach("say", {"what": "many"}, timeout="30s")]))
        gateway.deploy(api("beside", upstream.url, [attach("mark", {"name": "beside"})]))
        before = resident_memory_of(gateway.process.pid)
        with httpx.Client(timeout=40) as client:
            for _ in range(5):
                assert client.get(f"{gateway.url}/burst/x").status_code == 200
                assert client.get(f"{gateway.url}/beside/x", timeout=20).status_code == 200
        grown = resident_memory_of(gateway.process.pid) - before
        gateway.read.set()
        eventually(
            "dropped lines are reported", lambda: _count_dropped(gateway) + _count_lines(gateway) == 5 * MANY, 30
        )
    finally:
        gateway.read.set()
        gateway.stop()
    assert _count_dropped(gateway) > 0
    assert grown < 40 << 20
    numbers = [int(record["message"].split()[1]) for record in _lines(gateway)]
    assert numbers[:1000] == list(range(1000))


def _lines(gateway: Gateway) -> list[Json]:
    return [record for record in gateway.records() if str(record["message"]).endswith(" of many")]


def _count_lines(gateway: Gateway) -> int:
    return len(_lines(gateway))


def _count_dropped(gateway: Gateway) -> int:
    message = "log lines dropped: the output did not take them"
    return sum(int(record["lines"]) for record in gateway.find_records(message=message))
