"""`gatewright run` from the outside: its output, its refusals, and the files and processes that it leaves."""

from __future__ import annotations

import shlex
import signal
import socket
import subprocess
from pathlib import Path

import httpx

from e2e.kit.attachments import GO_HEADERS
from e2e.kit.gateway import Gateway, api, attach, running
from e2e.kit.places import ROOT
from e2e.kit.upstream import Upstream

REQUESTS = 500


def processes_of(group: int) -> list[str]:
    result = subprocess.run(["ps", "-eo", "pid,sess,args"], capture_output=True, text=True, check=True).stdout
    return [line for line in result.splitlines()[1:] if int(line.split()[1]) == group]


def test_the_stock_build_serves_the_sample_api_by_the_printed_curl_line(tmp_path: Path) -> None:
    subprocess.run(["gatewright", "build", "--output", "build/stock"], cwd=ROOT, check=True)
    arguments = ("--with-echo", "--echo-port", "0", "--apis", str(ROOT / "samples"))
    with running(ROOT / "build" / "stock", tmp_path, *arguments) as gateway:
        assert [line.split()[0] for line in gateway.printed].count("ready") == 1
        gateway.wait_printed("curl ")
        curl = next(line for line in gateway.printed if line.startswith("curl "))
        received = {name.lower() for name, _ in httpx.get(shlex.split(curl)[-1]).json()["headers"]}
        assert {"x-python-policy", "x-go-policy"} <= received
        session, run_dir = gateway.process.pid, gateway.run_dir
        gateway.process.send_signal(signal.SIGINT)
        assert gateway.process.wait(20) == 0
        assert processes_of(session) == []
        assert not run_dir.exists() or not any(run_dir.iterdir())


def test_a_taken_port_is_named_before_anything_starts(build: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = ["gatewright", "run", "--build", str(build), "--port", port, "--state-dir", str(tmp_path)]
        refused = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    assert refused.returncode == 1
    assert port in refused.stderr
    assert "Traceback" not in refused.stderr


def test_without_python_policies_there_is_no_executor(tmp_path: Path, upstream: Upstream) -> None:
    output = tmp_path / "build"
    manifest = Path(__file__).parent / "build-go-only.yaml"
    subprocess.run(["gatewright", "build", "--manifest", str(manifest), "--output", str(output)], check=True)
    assert not (output / "python-executor" / "python_policy_registry.py").exists()
    with running(output, tmp_path / "state") as gateway:
        gateway.deploy(api("go-only", upstream.url, [attach("log-message"), GO_HEADERS]))
        assert httpx.get(f"{gateway.url}/go-only/x").headers["X-Go-Policy"] == "go"
        assert [process["name"] for process in gateway.status()["processes"] if "executor" in process["name"]] == []
    assert upstream.received[0].value("X-Go-Policy") == "go"


def test_all_processes_are_the_same_after_many_requests(gateway: Gateway, upstream: Upstream) -> None:
    gateway.deploy(api("many", upstream.url, [GO_HEADERS, attach("mark", {"name": "many"})]))
    names = ("executor-default-0", "engine", "envoy")
    before = [gateway.pid(name) for name in names]
    with httpx.Client(base_url=gateway.url) as client:
        answers = {client.get("/many/x").status_code for _ in range(REQUESTS)}
    assert answers == {200}
    assert [gateway.pid(name) for name in names] == before
    assert len(upstream.received) == REQUESTS
