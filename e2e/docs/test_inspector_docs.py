"""The commands of docs/how-to/inspector.md and docs/reference/requests-api.md, run as they stand there."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.kit.gateway import Gateway, running
from e2e.kit.markdown import blocks, commands, page, section

pytestmark = pytest.mark.timeout(120)
HOW_TO, REFERENCE = page("docs/how-to/inspector.md"), page("docs/reference/requests-api.md")
OPEN, PRINT, SEND = blocks(HOW_TO, "sh")


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway of what `gatewright init` writes."""
    folder = tmp_path_factory.mktemp("inspector")
    subprocess.run(["gatewright", "init", str(folder)], check=True, capture_output=True)
    echo = ["--with-echo", "--echo-port", "0"]  # its own: that of another run may end
    manifest = ["--manifest", str(folder / "build.yaml"), "--output", str(folder / "build"), *echo]
    with running(None, folder / "state", *manifest) as gateway:
        yield gateway


def shell(gateway: Gateway, script: str, **environment: str) -> str:
    """What it prints, with this gateway's controller and directory."""
    address = gateway.status()["controller"].removeprefix("http://")
    script = script.replace("127.0.0.1:9090", address).replace("RUN/", f"{gateway.run_dir}/")
    script = re.sub(r"^gatewright [a-z]+", rf"\g<0> --run-dir {gateway.run_dir}", script, flags=re.MULTILINE)
    env = {**os.environ, **environment}
    command = ["bash", "-euo", "pipefail", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=env)
    assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.parametrize(
    "command", [OPEN, section(page("README.md"), "See what it does").partition("```sh\n")[2].splitlines()[0]]
)
def test_it_is_opened(started: Gateway, tmp_path: Path, command: str) -> None:
    (tmp_path / "browser").write_text(f'#!/bin/sh\necho "$1" > {tmp_path / "opened"}\n')
    (tmp_path / "browser").chmod(0o700)
    shell(started, command, BROWSER=f"{tmp_path / 'browser'} %s")
    assert (tmp_path / "opened").read_text().strip() == (started.run_dir / "inspector.html").as_uri()


def test_its_address_is_printed(started: Gateway) -> None:
    printed = shell(started, PRINT)
    assert printed.startswith(f"{started.status()['controller']}/#token=")
    elsewhere = re.search(r"^    (GATEWRIGHT_CONTROLLER_TOKEN_FILE=.*)$", HOW_TO, re.MULTILINE)
    assert elsewhere
    assert shell(started, f"cd {started.run_dir}; cp management-token token; {elsewhere[1]}; rm token") == printed


def test_a_request_is_sent_and_explained(started: Gateway) -> None:
    (short,) = (one for one in commands(REFERENCE, "curl") if "-X POST" in one)
    for command in (SEND, f"{short} -sS"):
        answer = json.loads(shell(started, command))
        assert (answer["status"], answer["recorded"]) == (200, True), answer
        assert "hello Ada" in answer["body"]["text"]
        explained = shell(started, f"gatewright explain {answer['requestId']}")
        assert "greet:v1.0.0" in explained
