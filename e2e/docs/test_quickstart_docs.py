"""README, the quickstart, and the pages of the Inspector and of requests: their commands run unchanged, in the folder
that `gatewright init` makes.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from e2e.kit.gateway import Gateway, running
from e2e.kit.markdown import blocks, commands, page, section
from e2e.kit.scraping import address

pytestmark = pytest.mark.timeout(120)
HOW_TO, REFERENCE = page("docs/how-to/inspector.md"), page("docs/reference/requests-api.md")
OPEN, PRINT, SEND = blocks(HOW_TO, "sh")
README = section(page("README.md"), "See what it does").partition("```sh\n")[2].splitlines()
ID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"


@pytest.fixture(scope="module")
def quickstart_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("quickstart")
    subprocess.run(["gatewright", "init", str(folder)], check=True, capture_output=True)
    echo = ["--with-echo", "--echo-port", "0"]  # its own: that of another run may end
    manifest = ["--manifest", str(folder / "build.yaml"), "--output", str(folder / "build"), *echo]
    with running(None, folder / "state", *manifest) as gateway:
        yield gateway


def shell(gateway: Gateway, script: str, **environment: str) -> str:
    """The output of a script, with this gateway's ports and directory."""
    controller = gateway.status()["controller"].removeprefix("http://")
    places = {"127.0.0.1:8080": f"127.0.0.1:{gateway.port}", "127.0.0.1:9901": address(gateway)}
    places |= {"127.0.0.1:9090": controller, "RUN/": f"{gateway.run_dir}/"}
    for shown, here in places.items():
        script = script.replace(shown, here)
    script = re.sub(r"(^|\$\()gatewright [a-z]+", rf"\g<0> --run-dir {gateway.run_dir}", script, flags=re.MULTILINE)
    env = {**os.environ, **environment}
    command = ["bash", "-euo", "pipefail", "-c", script]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=env)
    assert result.returncode == 0, f"{script}\n{result.stdout}\n{result.stderr}"
    return result.stdout


def executions(metrics: str) -> int:
    """The number of executions of greet, in the request phase, that let the request pass."""
    line = r'^gatewright_executions_total\{api="hello",.*,outcome="ok",phase="request",policy="greet:v1.0.0"\} (\d+)$'
    match = re.search(line, metrics, re.MULTILINE)
    return int(match[1]) if match else 0


def test_a_request_is_recorded_explained_and_counted(quickstart_gateway: Gateway) -> None:
    text = section(page("docs/tutorial/quickstart.md"), "See what happened to a request")
    record, inspect, count = blocks(text, "sh")
    before = executions(httpx.get(f"http://{address(quickstart_gateway)}/metrics").text)
    output = shell(quickstart_gateway, record)
    (beginning,) = re.findall(r"prints `(.*)`, then the time", text)
    assert f"GET /hello/there: {beginning}; " in output
    (line,) = re.findall(rf"^.*  400 .*  greet:v1.0.0 answered  ({ID})$", output, re.MULTILINE)
    assert f"request id  {line}" in output
    assert executions(shell(quickstart_gateway, count)) == before + 1
    assert "#token=" in shell(quickstart_gateway, inspect)
    inspector, watch, explain, scrape = README[:4]
    assert inspector.startswith("gatewright inspector --open ")  # executed below
    assert shell(quickstart_gateway, watch.replace("--errors", "--errors --kept")) == ""
    assert shell(quickstart_gateway, explain.replace("REQUEST_ID", line)) in output
    assert "gatewright_executions_total{" in shell(quickstart_gateway, scrape)


@pytest.mark.parametrize("command", [OPEN, README[0]])
def test_the_inspector_is_opened(quickstart_gateway: Gateway, tmp_path: Path, command: str) -> None:
    (tmp_path / "browser").write_text(f'#!/bin/sh\necho "$1" > {tmp_path / "opened"}\n')
    (tmp_path / "browser").chmod(0o700)
    shell(quickstart_gateway, command, BROWSER=f"{tmp_path / 'browser'} %s")
    assert (tmp_path / "opened").read_text().strip() == (quickstart_gateway.run_dir / "inspector.html").as_uri()


def test_the_inspectors_address_is_printed(quickstart_gateway: Gateway) -> None:
    printed = shell(quickstart_gateway, PRINT)
    assert printed.startswith(f"{quickstart_gateway.status()['controller']}/#token=")
    elsewhere = re.search(r"^    (GATEWRIGHT_CONTROLLER_TOKEN_FILE=.*)$", HOW_TO, re.MULTILINE)
    assert elsewhere
    assert (
        shell(
            quickstart_gateway, f"cd {quickstart_gateway.run_dir}; cp management-token token; {elsewhere[1]}; rm token"
        )
        == printed
    )


def test_a_request_is_sent_and_explained(quickstart_gateway: Gateway) -> None:
    (short,) = (command for command in commands(REFERENCE, "curl") if "-X POST" in command)
    for command in (SEND, f"{short} -sS"):
        answer = json.loads(shell(quickstart_gateway, command))
        assert (answer["status"], answer["recorded"]) == (200, True), answer
        assert "hello Ada" in answer["body"]["text"]
        explained = shell(quickstart_gateway, f"gatewright explain {answer['requestId']}")
        assert "greet:v1.0.0" in explained
