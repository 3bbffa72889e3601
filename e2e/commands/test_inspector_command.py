"""`gatewright inspector`: the way to the controller's web page, and where else its address is printed."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
from pathlib import Path
from urllib.parse import unquote

import httpx
import pytest

from e2e.kit.closed_port import closed_port
from e2e.kit.gateway import Gateway, running

pytestmark = pytest.mark.timeout(120)


def gatewright(gateway: Gateway, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = ["gatewright", *words, "--run-dir", str(gateway.run_dir)]
    env = {**os.environ, **environment}
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=env)


def token_of(gateway: Gateway) -> str:
    return (gateway.run_dir / "management-token").read_text().strip()


def test_the_command_prints_an_address_that_signs_in(gateway: Gateway) -> None:
    result = gatewright(gateway, "inspector")
    assert result.returncode == 0, result.stderr
    page, _, token = result.stdout.strip().partition("#token=")
    assert page == f"{gateway.status()['controller']}/"
    assert httpx.get(page).headers["content-type"].startswith("text/html")
    headers = {"authorization": f"Bearer {unquote(token)}"}
    assert httpx.get(f"{page}v1/nodes", headers=headers).status_code == 200
    document = json.loads(gatewright(gateway, "inspector", "--json").stdout)
    assert document == {"url": page, "signIn": result.stdout.strip()}


def test_the_command_opens_a_browser_without_passing_it_the_token(gateway: Gateway, tmp_path: Path) -> None:
    """BROWSER is a command; this one records its arguments and the file that it then reads."""
    browser, address_file = tmp_path / "browser", tmp_path / "seen"
    browser.write_text(f'#!/bin/sh\necho "$1" > {address_file}\n')
    browser.chmod(0o700)
    result = gatewright(gateway, "inspector", "--open", BROWSER=f"{browser} %s")
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"opened {gateway.status()['controller']}/\n"
    page = gateway.run_dir / "inspector.html"
    assert address_file.read_text().strip() == page.as_uri()
    assert stat.S_IMODE(page.stat().st_mode) == 0o600
    assert f"url={gateway.status()['controller']}/#token={token_of(gateway)}" in page.read_text()


def test_the_command_reports_a_missing_browser(gateway: Gateway) -> None:
    command = shutil.which("gatewright")
    assert command
    result = subprocess.run(
        [command, "inspector", "--open", "--run-dir", str(gateway.run_dir)],
        capture_output=True, text=True, timeout=60, check=False, env={"PATH": "/nowhere"},
    )  # fmt: skip
    assert result.returncode == 1
    assert result.stderr.startswith("error: found no browser on this machine: set BROWSER to its command")


def test_status_and_the_first_lines_name_the_inspector_without_the_token(gateway: Gateway) -> None:
    page = f"{gateway.status()['controller']}/"
    assert f"inspector {page}  `gatewright inspector` signs in" in gatewright(gateway, "status").stdout.splitlines()
    assert json.loads(gatewright(gateway, "status", "--json").stdout)["inspector"] == page
    gateway.wait_printed(f"Inspector {page} (`gatewright inspector --open` signs in)")
    output = [*gateway.printed, *gateway.log, gatewright(gateway, "status", "--json").stdout]
    assert [line for line in output if token_of(gateway) in line] == []


def test_a_node_without_a_controller_has_no_inspector(build: Path, tmp_path: Path) -> None:
    with running(build, tmp_path / "state", "--no-controller") as node:
        result = gatewright(node, "inspector")
        assert (result.returncode, result.stdout) == (1, "")
        assert "has no controller" in result.stderr
        assert json.loads(gatewright(node, "status", "--json").stdout)["inspector"] == ""
        assert not (node.run_dir / "inspector.html").exists()
        assert not [line for line in node.printed if line.startswith("Inspector")]


def test_a_controller_elsewhere_asks_for_its_token(gateway: Gateway, tmp_path: Path) -> None:
    url = gateway.status()["controller"]
    command = ["gatewright", "inspector", "--controller", url]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 1
    assert result.stderr.startswith(f"error: expected the token of the controller at {url}, got none: name a file")
    (tmp_path / "token").write_text("a/b\n")
    env = {**os.environ, "GATEWRIGHT_CONTROLLER_TOKEN_FILE": str(tmp_path / "token")}
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=env)
    assert result.stdout == f"{url}/#token=a%2Fb\n"
    refused = subprocess.run([*command, "--open"], capture_output=True, text=True, timeout=60, check=False, env=env)
    assert refused.returncode == 1
    assert "--open is for a run of this machine" in refused.stderr


def test_a_controller_that_is_away_is_named(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("t\n")
    env = {**os.environ, "GATEWRIGHT_CONTROLLER_TOKEN_FILE": str(tmp_path / "token")}
    with closed_port() as port:
        command = ["gatewright", "inspector", "--controller", f"http://127.0.0.1:{port}"]
        result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=env)
    assert result.returncode == 6
    assert result.stderr.startswith(f"error: the controller at http://127.0.0.1:{port} gave no answer")
