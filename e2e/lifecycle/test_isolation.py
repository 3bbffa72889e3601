"""Executors at each level of isolation, behind a gateway. What each refuses: cli/tests/isolation/test_levels.py."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from e2e.kit.gateway import Gateway, Json, api, attach, eventually, running
from e2e.kit.policy_project import PolicyProject
from e2e.kit.upstream import Upstream

pytestmark = pytest.mark.timeout(300)
SYSTEM_PYTHON = Path("/usr/bin/python3")
LOOK = """
    import json, os, tempfile
    from typing import Any
    from sdk.policy import ImmediateResponse, RequestAction, RequestContext

    def on_request(ctx: RequestContext, params: dict[str, Any]) -> RequestAction:
        found = {"uid": os.getuid(), "temporary": tempfile.gettempdir()}
        tempfile.NamedTemporaryFile(delete=False)
        for path in params["files"]:
            try:
                open(path).close()
                found[path] = "read"
            except OSError as error:
                found[path] = error.strerror
        return ImmediateResponse(200, body=json.dumps(found).encode())

    def on_response(ctx: Any, params: dict[str, Any]) -> None: ...
"""
PARAMETERS = "parameters: {type: object, properties: {files: {type: array, items: {type: string}}}}\n"


def look(gateway: Gateway) -> Json:
    answer = httpx.get(f"{gateway.url}/look/", timeout=10)
    assert answer.status_code == 200, answer.text
    evidence: Json = answer.json()
    return evidence


def deploy(gateway: Gateway, upstream: Upstream, *files: Path) -> None:
    gateway.deploy(api("look", upstream.url, [attach("look", {"files": [str(file) for file in files]})]))


@pytest.fixture
def project(tmp_path: Path) -> PolicyProject:
    policies = PolicyProject(tmp_path, "e2e-isolation")
    policies.write_policy("look", LOOK, more=PARAMETERS)
    return policies


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text("of another user")
    return path


def test_by_default_a_policy_reads_only_files_that_its_definition_names(
    project: PolicyProject, secret: Path, tmp_path: Path, upstream: Upstream
) -> None:
    with running(None, tmp_path / "state", *project.arguments) as gateway:
        deploy(gateway, upstream, secret, gateway.run_dir / "status.json")
        (before,) = gateway.executors()
        assert (before["isolation"]["level"], before["isolation"]["lacks"]) == ("landlock", [])
        closed = "Permission denied"
        evidence = look(gateway)
        assert (evidence[str(secret)], evidence[f"{gateway.run_dir}/status.json"]) == (closed, closed)
        assert list(Path(evidence["temporary"]).iterdir())
        project.write_policy("look", LOOK, more=f"{PARAMETERS}files: {{read: [{secret}]}}\n")
        assert gateway.reload().returncode == 0
        (after,) = gateway.executors()
        assert after["pid"] != before["pid"]
        assert after["isolation"]["access"]["read"] == [str(secret)]
        assert look(gateway)[str(secret)] == "read"
        output = subprocess.run(
            ["gatewright", "status", "--run-dir", str(gateway.run_dir)], capture_output=True, text=True, check=False
        )
        assert "ISOLATION" in output.stdout
        assert "landlock" in next(line for line in output.stdout.splitlines() if line.startswith("executor-default-0"))
    assert not Path(evidence["temporary"]).parent.exists()


def test_level_none_has_the_users_rights(
    project: PolicyProject, secret: Path, tmp_path: Path, upstream: Upstream
) -> None:
    with running(None, tmp_path / "state", *project.arguments, "--isolation", "none") as gateway:
        deploy(gateway, upstream, secret)
        assert look(gateway)[str(secret)] == "read"
        assert gateway.executors()[0]["isolation"]["level"] == "none"


@pytest.fixture
def open_build(project: PolicyProject) -> Iterator[Path]:
    """A build whose environment another user can read: that of the system's python3, not of one in a home folder."""
    if os.getuid() != 0 or not SYSTEM_PYTHON.exists():
        pytest.skip("needs to be root, and the system's python3")
    build = project.output.with_name("e2e-isolation-open")
    command = ["gatewright", "build", "--manifest", str(project.manifest), "--output", str(build)]
    subprocess.run(command, check=True, capture_output=True)
    environment = build / "python-env" / "default"
    shutil.rmtree(environment)
    python = environment / "bin" / "python"
    subprocess.run(["uv", "venv", "--quiet", "--python", str(SYSTEM_PYTHON), str(environment)], check=True)
    lock = build / "requirements" / "default.lock"
    install = ["uv", "pip", "install", "--quiet", "--no-deps", "--link-mode", "copy", "--python", str(python)]
    subprocess.run([*install, "-r", str(lock)], check=True)
    yield build
    shutil.rmtree(build)


def test_each_group_has_a_user_of_its_own(open_build: Path, secret: Path, tmp_path: Path, upstream: Upstream) -> None:
    secret.chmod(0o600)
    with running(open_build, tmp_path / "state", "--isolation", "user", "--executors", "2") as gateway:
        deploy(gateway, upstream, secret)
        evidence, executor = look(gateway), gateway.executors()[0]
        assert evidence["uid"] == executor["isolation"]["uid"] == Path(f"/proc/{executor['pid']}").stat().st_uid != 0
        assert executor["isolation"]["level"] == "user"
        assert evidence[str(secret)] == "Permission denied"
        temporary = Path(evidence["temporary"])
        assert (temporary.stat().st_uid, temporary.stat().st_mode & 0o777) == (evidence["uid"], 0o700)
        gateway.kill("executor-default-0")
        gateway.kill("executor-default-1")
        for _ in range(2):
            assert look_again(gateway)["uid"] == evidence["uid"]
    assert not temporary.parent.exists()


def look_again(gateway: Gateway) -> Json:
    """Looks once an executor is back."""
    eventually("an answer", lambda: httpx.get(f"{gateway.url}/look/", timeout=10).status_code == 200)
    return look(gateway)


def test_an_interpreter_in_a_home_folder_is_refused_with_the_cure(project: PolicyProject, tmp_path: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("needs to be root")
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    gateway = Gateway(None, tmp_path / "state", "--manifest", str(project.manifest), "--output", str(home / "build"),
                      "--isolation", "user")  # fmt: skip
    assert gateway.process.wait(timeout=120) == 1
    gateway.stop()
    log = "\n".join(gateway.log)
    assert "executor-default-0 did not start" in log
    assert "without privileges, can read" in log
    assert "open it (chmod o+rx)" in log
