"""The wheels as people meet them, with pip and with the product's own ports: `make wheel-test`.

Not named test_*.py: it needs the registry, minutes, and the ports 8080, 9090 and 9091.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.kit.gateway import eventually
from e2e.kit.installed import INSTALL_SECONDS, Installation, make_wheels
from e2e.kit.markdown import blocks, page
from e2e.lifecycle.test_wheels import assert_greeted

FIRST_ANSWER_SECONDS = 15.0
READY = (
    "gatewright run > run.log 2>&1 & echo $! > run.pid\nuntil grep -q '^ready' run.log; do sleep 0.1; kill -0 $!; done"
)


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheels")
    make_wheels(folder)
    return folder


@pytest.fixture(scope="module")
def installation(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """An empty environment, and `pip install gatewright` from a folder of wheels."""
    place = tmp_path_factory.mktemp("installed")
    installation = Installation(place / "venv", place / "cache")
    installation.run("python3", "-m", "venv", str(installation.folder), cwd=place)
    installation.run("pip", "install", "--quiet", "--find-links", str(wheels), "gatewright", cwd=place)
    return installation


def test_pip_finds_nothing_wrong(installation: Installation, tmp_path: Path) -> None:
    assert "No broken requirements" in installation.run("pip", "check", cwd=tmp_path)
    assert installation.run("gatewright", "version", cwd=tmp_path).startswith("gatewright 0.1.0\n")


def test_the_policies_that_ship_are_listed(installation: Installation, tmp_path: Path) -> None:
    assert re.search(
        "^cors +v[0-9.]+ +Go +Lets web pages ", installation.run("gatewright", "policy", cwd=tmp_path), re.M
    )
    page = installation.run("gatewright", "policy", "jwt-auth", cwd=tmp_path)
    assert "\n  issuers[].audiences\n      list of strings, " in page
    assert "\n  policies:\n    - name: jwt-auth\n      version: v1\n      params:\n" in page, "its example is installed"


def test_the_first_answer_comes_within_fifteen_seconds(installation: Installation, tmp_path: Path) -> None:
    warm, folder = tmp_path / "warm", tmp_path / "gateway"
    installation.run("gatewright", "init", str(warm), cwd=tmp_path)
    installation.run("gatewright", "build", cwd=warm)  # what the policies need is in the package cache now
    folder.mkdir()
    assert list(folder.iterdir()) == []
    installation.run("gatewright", "init", cwd=folder)
    with installation.gateway(folder) as (url, seconds):
        assert_greeted(url)
        assert seconds < FIRST_ANSWER_SECONDS


def test_the_same_sources_give_the_same_wheels(wheels: Path, tmp_path: Path) -> None:
    digests = [
        {wheel.name: hashlib.sha256(wheel.read_bytes()).hexdigest() for wheel in wheels_made.values()}
        for wheels_made in (make_wheels(tmp_path), {wheel.name: wheel for wheel in wheels.glob("*.whl")})
    ]
    assert digests[0] == digests[1]


def test_pytest_mypy_and_pyright_take_three_policies(installation: Installation, tmp_path: Path) -> None:
    """Two of the policies were added by hand, as copies."""
    installation.run("pip", "install", "--quiet", "pytest", "mypy", "pyright[nodejs]", cwd=tmp_path)
    installation.run("gatewright", "init", cwd=tmp_path)
    for name in ("caller", "rate_limit"):
        shutil.copytree(tmp_path / "policies" / "greet", tmp_path / "policies" / name)
    assert "12 passed" in installation.run("pytest", "policies", cwd=tmp_path)
    for command in (("mypy", "policies"), ("mypy", "--strict", "policies")):
        assert "Success: no issues found in 6 source files" in installation.run(*command, cwd=tmp_path)
    assert "0 errors, 0 warnings" in installation.run("pyright", cwd=tmp_path)


@pytest.fixture
def runtime_dir() -> Iterator[str]:
    """The folder in which `gatewright reload` finds this test's run alone. Its path is short, for it holds sockets."""
    with tempfile.TemporaryDirectory(prefix="gw-") as folder:
        yield folder


def test_the_quickstart_works_as_written(wheels: Path, runtime_dir: str, tmp_path: Path) -> None:
    """All commands of the page in order, in one shell; the gateway in the background instead of another terminal."""
    commands = "".join(blocks(page("docs/tutorial/quickstart.md"), "sh"))
    assert commands.count("gatewright run\n") == commands.count("make wheels\n") == 1
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    (checkout / "dist").symlink_to(wheels)  # make wheels has been
    script = tmp_path / "quickstart.sh"
    script.write_text("set -eu\n" + commands.replace("make wheels\n", "").replace("gatewright run\n", READY + "\n"))
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("GATEWRIGHT_", "PYTHON"))},
        "PATH": "/usr/bin:/bin",
        "XDG_RUNTIME_DIR": runtime_dir,
        "GATEWRIGHT_CACHE_DIR": str(tmp_path / "cache"),
    }
    try:
        result = subprocess.run(
            ["bash", str(script)], cwd=checkout, env=environment, capture_output=True, text=True, check=False,
            timeout=INSTALL_SECONDS,
        )  # fmt: skip
    finally:
        _stop(tmp_path / "my-gateway" / "run.pid")
    log = tmp_path / "my-gateway" / "run.log"
    assert result.returncode == 0, f"{result.stdout}\n{result.stderr}\n{log.read_text() if log.exists() else ''}"
    assert re.findall(r"^x-greeted: (\w+)", result.stdout, re.MULTILINE) == ["yes", "gladly", "gladly"]
    assert '["x-greeting", "good day world"]' in result.stdout.replace('","', '", "')
    assert '["x-greeting", "hello Ada"]' in result.stdout.replace('","', '", "')
    assert "hello changed, deployed\n" in result.stdout
    assert "GET /hello/there: greet:v1.0.0 answered 400 in the request phase; " in result.stdout
    pattern = r'^gatewright_executions_total\{api="hello",.*outcome="ok",phase="request",policy="greet:v1.0.0"\} [1-9]'
    assert re.search(pattern, result.stdout, re.MULTILINE)
    assert "4 passed" in result.stdout
    assert result.stdout.count("2 passed") == 2
    assert "expected one header x-tenant, got 0; ask the shop for yours\n" in result.stdout
    assert "Success: no issues found in 2 source files" in result.stdout


def _stop(pid_file: Path) -> None:
    if pid_file.exists():
        pid = int(pid_file.read_text())
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        eventually("the gateway has stopped", lambda: not Path(f"/proc/{pid}/exe").exists(), 20)
