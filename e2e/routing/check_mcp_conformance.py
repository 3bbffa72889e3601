"""MCP's own conformance suite, asked of a server directly and through the gateway: `make mcp-conformance-test`.

Not named test_*.py: it installs the suite from the npm registry.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import javascript
import pytest

from e2e.kit.gateway import Gateway, api
from e2e.kit.mcp import PROGRAMS, running_server

SUMMARY = re.compile(r"^[✓✗] ([\w-]+): (\d+) passed, (\d+) failed$", re.MULTILINE)
LONG = {"requestTimeout": "600s", "idleTimeout": "3600s"}


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The suite's program, of the versions in the lock; it needs a newer Node.js than the Inspector's tests."""
    home = tmp_path_factory.mktemp("suite")
    for name in ("package.json", "package-lock.json"):
        shutil.copy(PROGRAMS / "conformance" / name, home)
    options = ("--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
    subprocess.run([*javascript.npm(), "ci", *options], cwd=home, check=True)
    return home / "node_modules" / "@modelcontextprotocol" / "conformance" / "dist" / "index.js"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with running_server("conformance_server.py") as url:
        yield url


def run_suite(suite: Path, url: str, folder: Path) -> dict[str, tuple[int, int]]:
    """How many checks of each scenario pass and fail."""
    node = str(javascript.of_wheel("node"))
    command = [node, str(suite), "server", "--url", url, "--suite", "all", "-o", str(folder)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    found = {name: (int(passed), int(failed)) for name, passed, failed in SUMMARY.findall(result.stdout)}
    assert len(found) >= 30, result.stdout[-2000:] + result.stderr[-2000:]
    return found


def test_the_gateway_makes_no_difference(gateway: Gateway, suite: Path, server: str, tmp_path: Path) -> None:
    """The API has the host of its own address: a name of a rebound DNS entry meets no API, as it meets no server."""
    operations = [{"method": method, "path": "/mcp", **LONG} for method in ("GET", "POST", "DELETE")]
    document = api("mcp-conformance", server, [], operations)
    document["spec"]["hosts"] = ["127.0.0.1"]
    gateway.deploy(document)
    direct = run_suite(suite, f"{server}/mcp", tmp_path / "direct")
    through = run_suite(suite, f"{gateway.url}/mcp-conformance/mcp", tmp_path / "through")
    differences = {name: (direct[name], through.get(name)) for name in direct if direct[name] != through.get(name)}
    passed, failed = (sum(counts[index] for counts in direct.values()) for index in (0, 1))
    shown = f"{passed} checks pass and {failed} fail directly; differences: {differences or 'none'}"
    print(f"{len(direct)} scenarios, {shown}")
    assert differences == {}
