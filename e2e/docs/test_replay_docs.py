"""docs/how-to/replay.md, followed in what `gatewright init` makes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from e2e.kit.commands import followers
from e2e.kit.gateway import Gateway, eventually, running
from e2e.kit.markdown import blocks, page, section

pytestmark = pytest.mark.timeout(180)
PAGE = page("docs/how-to/replay.md")
FILE = r"\d{8}T[\d.]+Z-GET-hello-again-[0-9a-f]{8}"


@dataclass(frozen=True)
class Project:
    """A project with recorded exchanges."""

    folder: Path
    gateway: Gateway

    def shell(self, script: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "GATEWRIGHT_CACHE_DIR": str(self.folder / "cache")}
        return subprocess.run(
            ["bash", "-c", script], cwd=self.folder, env=environment,
            capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    folder = tmp_path_factory.mktemp("replay")
    subprocess.run(["gatewright", "init", str(folder)], check=True, capture_output=True)
    echo = ["--with-echo", "--echo-port", "0"]  # its own: that of another run may end
    arguments = ["--manifest", str(folder / "build.yaml"), "--output", str(folder / "build"), *echo]
    record, send = blocks(section(PAGE, "Record some"), "sh")
    with running(None, folder / "state", *arguments, "--apis", str(folder / "apis")) as gateway:
        command = record.replace("gatewright record", f"exec gatewright record --run-dir {gateway.run_dir}")
        with subprocess.Popen(["bash", "-c", command], cwd=folder, stdout=subprocess.DEVNULL) as recording:
            eventually("the node records", lambda: followers(gateway) == 1, 30)
            replay_project = Project(folder, gateway)
            assert replay_project.shell(send.replace("127.0.0.1:8080", f"127.0.0.1:{gateway.port}")).returncode == 0
            assert recording.wait(60) == 0
        yield replay_project


def names(text: str) -> str:
    """The lines without files' names and the columns as wide as these."""
    return re.sub(r" +", " ", re.sub(FILE, "FILE", text)).strip()


def test_the_change_differs_as_the_page_says(project: Project) -> None:
    (change,) = blocks(section(PAGE, "Run a change on them"), "python")
    (command,) = blocks(section(PAGE, "Run a change on them"), "sh")
    (shown,) = blocks(section(PAGE, "Run a change on them"), "text")
    same = project.shell(command)
    assert same.returncode == 0, same.stdout + same.stderr
    policy = project.folder / "policies" / "greet" / "policy.py"
    before = policy.read_text()
    policy.write_text(re.sub(r"^LONGEST_NAME = .*\n", change, before, flags=re.MULTILINE))
    assert policy.read_text() != before
    result = project.shell(command)
    policy.write_text(before)
    assert result.returncode == 1
    assert names(result.stdout) == names(shown)


def test_the_shown_test_passes_and_fails_with_the_differences(project: Project, tmp_path: Path) -> None:
    (test,) = blocks(section(PAGE, "In the policy's test"), "python")
    folder = shutil.copytree(project.folder / "policies" / "greet", tmp_path / "greet")
    (recorded,) = (project.folder / "requests").glob("*GET-hello-there-*.exchange.json")
    shutil.copy(recorded, folder / "ada.exchange.json")
    (folder / "test_ada.py").write_text(test)

    def run() -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder / "test_ada.py")]
        environment = {**os.environ, "COLUMNS": "200"}
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=60
        )

    passed = run()
    assert "1 passed" in passed.stdout, passed.stdout
    source = folder / "policy.py"
    source.write_text(source.read_text().replace('"x-greeting": f"', '"x-greeting": f"oh, '))
    failed = run()
    assert "1 failed" in failed.stdout
    assert "oh, hello Ada" in failed.stdout
    assert "hello Ada" in failed.stdout.replace("oh, hello Ada", "")


def test_a_build_is_replayed(project: Project) -> None:
    result = project.shell("gatewright replay requests --build build --api apis/hello.yaml")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "greet:v1.0.0: 2 exchanges replayed: none differ" in result.stdout
