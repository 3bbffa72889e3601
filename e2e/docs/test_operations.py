"""Commands of docs/how-to/operations.md as they stand, but for ports and folders, in what `gatewright init` made."""

from __future__ import annotations

import contextlib
import json
import re
import shlex
import signal
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import yaml

from e2e.kit.gateway import READY_SECONDS, Json, api, credentials, eventually
from e2e.kit.markdown import blocks, page, section
from e2e.kit.upstream import Upstream

pytestmark = pytest.mark.timeout(300)


class Run:
    """A `gatewright run` that is ready."""

    def __init__(self, process: subprocess.Popen[str], url: str, run_dir: Path, log: list[str]) -> None:
        self.process, self.url, self.run_dir, self.log = process, url, run_dir, log

    @property
    def controller(self) -> str:
        return str(json.loads((self.run_dir / "status.json").read_text())["controller"])

    @property
    def credentials(self) -> dict[str, str]:
        return credentials(self.run_dir)

    def answer(self, path: str) -> int:
        return httpx.get(f"{self.url}{path}").status_code


@pytest.fixture
def places() -> Iterator[Path]:
    """The folder of run directories, with a short path, for they hold sockets."""
    with tempfile.TemporaryDirectory(prefix="gw-") as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def gateway_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("operated")
    for command in (["init"], ["build"]):
        subprocess.run(["gatewright", *command], cwd=folder, check=True, stdout=subprocess.PIPE)
    (folder / "apis" / "hello.yaml").unlink()  # its upstream has a fixed port
    (folder / "apis").rmdir()
    return folder


def commands_of_block(heading: str, number: int) -> list[str]:
    """The commands of a block."""
    return blocks(section(page("docs/how-to/operations.md"), heading), "sh")[number].splitlines()


@contextmanager
def run_documented(command: str, folder: Path, places: Path, *arguments: str) -> Iterator[Run]:
    """Runs a documented `gatewright run` with free ports, its run directory among `places`."""
    command = re.sub(r"--port \d+", "", command.replace("/tmp/gateway-", f"{places}/gateway-"))  # noqa: S108
    words = [*shlex.split(command), *arguments, "--port", "0", "--controller-port", "0", "--log-format", "json"]
    if "--run-dir" not in words:
        words += ["--run-dir", str(places / "run")]
    process = subprocess.Popen(words, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stderr
    log: list[str] = []
    printed: list[str] = []
    readers = [
        threading.Thread(target=lines.extend, args=(pipe,), daemon=True)
        for lines, pipe in ((printed, process.stdout), (log, process.stderr))
    ]
    for reader in readers:
        reader.start()
    try:
        eventually(
            f"{words} is ready: {log}",
            lambda: process.poll() is not None or any(line.startswith("ready ") for line in printed),
            READY_SECONDS,
        )
        ready = [line for line in printed if line.startswith("ready ")]
        assert ready, "".join(log[-40:])
        yield Run(process, ready[0].split()[1], Path(words[words.index("--run-dir") + 1]), log)
    finally:
        stop(process)
        for reader in readers:
            reader.join(5)
        process.stdout.close()
        process.stderr.close()


def stop(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    process.wait(30)


def publish(controller: str, headers: dict[str, str], name: str, upstream: Upstream) -> Json:
    with httpx.Client(base_url=controller, headers=headers, timeout=30) as client:
        answer = client.post("/v1/apis", json=api(name, upstream.url), params={"wait": "15"})
        assert answer.status_code == 201, answer.text
        state: Json = client.get(f"/v1/apis/{name}/status").json()
    assert state["state"] == "deployed", state
    return state


def test_a_second_node_takes_its_apis_from_the_controller_of_the_first(
    gateway_folder: Path, places: Path, upstream: Upstream
) -> None:
    first, second = commands_of_block("A second node on one machine", 0)
    with contextlib.ExitStack() as stack:
        first_node = stack.enter_context(run_documented(first, gateway_folder, places))
        two = stack.enter_context(run_documented(second, gateway_folder, places))
        nodes = httpx.get(f"{first_node.controller}/v1/nodes", headers=first_node.credentials).json()["nodes"]
        assert [node["id"] for node in nodes] == ["one", "two"]
        assert {
            node["node"] for node in publish(first_node.controller, first_node.credentials, "both", upstream)["nodes"]
        } == {
            "one",
            "two",
        }
        assert (first_node.answer("/both/x"), two.answer("/both/x")) == (200, 200)
        stop(first_node.process)
        assert two.answer("/both/x") == 200


def test_a_controller_of_its_own_reads_a_settings_file(gateway_folder: Path, places: Path, upstream: Upstream) -> None:
    command = [sys.executable, "-m", "gatewright_controller", "--print-settings"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    settings = yaml.safe_load(printed) | {
        "listen": "127.0.0.1:0",
        "nodeListen": f"unix:{places}/controller.sock",
        "definitions": str(gateway_folder / "build" / "stock" / "policy-definitions"),
        "database": f"sqlite:{places}/controller.db",
    }
    (places / "controller.yaml").write_text(yaml.safe_dump(settings))
    text = section(page("docs/how-to/operations.md"), "The controller's settings")
    (command,) = re.findall(r"^    python (-m gatewright_controller --settings \S+)$", text, re.MULTILINE)
    words = [sys.executable, *command.split()]
    controller = subprocess.Popen(words, cwd=places, stderr=subprocess.PIPE, text=True)
    assert controller.stderr
    try:
        line = next(line for line in controller.stderr if '"ready"' in line)
        address = json.loads(line)["listen"]
        second = commands_of_block("A second node on one machine", 0)[1]
        second = second.replace("/tmp/gateway-one/controller.sock", f"{places}/controller.sock")  # noqa: S108
        with run_documented(second, gateway_folder, places) as node:
            publish(f"http://{address}", {}, "alone", upstream)
            assert node.answer("/alone/x") == 200
    finally:
        stop(controller)
        controller.stderr.close()


@pytest.mark.slow("a gateway is started three times")
def test_a_backup_is_restored(gateway_folder: Path, places: Path, upstream: Upstream) -> None:
    names = [f"kept-{number}" for number in range(4)]
    (backup,) = commands_of_block("Backup", 0)
    *restore, run = commands_of_block("Backup", 1)
    with run_documented("gatewright run", gateway_folder, places) as before:
        for name in names:
            publish(before.controller, before.credentials, name, upstream)
        result = subprocess.run(backup, shell=True, cwd=gateway_folder, check=True, capture_output=True, text=True)  # noqa: S602
        count = len(httpx.get(f"{before.controller}/v1/apis", headers=before.credentials).json()["apis"])
        assert result.stdout == f"{count} APIs in apis.db\n"
    assert stat.S_IMODE((gateway_folder / "apis.db").stat().st_mode) == 0o600
    subprocess.run("\n".join(restore), shell=True, cwd=gateway_folder, check=True)  # noqa: S602
    with run_documented(run, gateway_folder, places) as after:
        assert {after.answer(f"/{name}/x") for name in names} == {200}


def test_the_log_levels_are_options(gateway_folder: Path, places: Path) -> None:
    text = section(page("docs/reference/logs.md"), "Logs")
    table = [cell for cell in re.findall(r"^\| ([^|]+) \|", text, re.MULTILINE) if "log-level`" in cell]
    options = re.findall(r"`(--[\w.]*log-level)`", " ".join(table))
    assert options == ["--log-level", "--py.log-level", "--pe.log-level", "--envoy.log-level"]
    (parts,) = re.findall(r"`(--envoy\.component-log-level \S+)`", text)
    levels = [word for option in options for word in (option, "warning" if "envoy" in option else "error")]
    with run_documented("gatewright run", gateway_folder, places, *levels, *parts.split()) as run:
        httpx.get(f"{run.url}/nothing")
    records = [json.loads(line) for line in run.log]
    assert [record for record in records if record["component"] == "envoy" and record["level"] == "debug"]
    quiet = {record["level"] for record in records if record["component"] in {"python-executor", "policy-engine"}}
    assert quiet <= {"error"}
