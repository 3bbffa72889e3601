"""What README and docs/tutorial/quickstart.md show of requests that pass, run as it stands there."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator

import pytest

from e2e.kit.gateway import Gateway, running
from e2e.kit.markdown import blocks, page, section
from e2e.kit.scraping import address

pytestmark = pytest.mark.timeout(120)
ID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway of what `gatewright init` writes."""
    folder = tmp_path_factory.mktemp("quickstart")
    subprocess.run(["gatewright", "init", str(folder)], check=True, capture_output=True)
    echo = ["--with-echo", "--echo-port", "0"]  # its own: that of another run may end
    manifest = ["--manifest", str(folder / "build.yaml"), "--output", str(folder / "build"), *echo]
    with running(None, folder / "state", *manifest) as gateway:
        yield gateway


def shell(gateway: Gateway, script: str) -> str:
    """What it prints, with this gateway's ports and directory."""
    script = script.replace("127.0.0.1:8080", f"127.0.0.1:{gateway.port}")
    script = script.replace("127.0.0.1:9901", address(gateway))
    script = re.sub(r"gatewright [a-z]+", rf"\g<0> --run-dir {gateway.run_dir}", script)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_a_request_is_recorded_explained_and_counted(started: Gateway) -> None:
    text = section(page("docs/tutorial/quickstart.md"), "See what became of a request")
    record, inspect, count = blocks(text, "sh")
    said = shell(started, record)
    (beginning,) = re.findall(r"begins with `(.*)`, and goes on", text)
    assert f"GET /hello/there: {beginning}; " in said
    (line,) = re.findall(rf"^.*  400 .*  greet:v1.0.0 answered  ({ID})$", said, re.MULTILINE)
    assert f"request id  {line}" in said
    counted = r'^gatewright_executions_total\{api="hello",.*,outcome="ok",phase="request",policy="greet:v1.0.0"\} 1$'
    assert re.search(counted, shell(started, count), re.MULTILINE)

    assert "#token=" in shell(started, inspect)
    lines = section(page("README.md"), "See what it does").partition("```sh\n")[2].splitlines()
    inspector, watch, explain, scrape = lines[:4]
    assert inspector.startswith("gatewright inspector --open ")  # executed by test_inspector_docs.py
    assert shell(started, watch.replace("--errors", "--errors --kept")) == ""
    assert shell(started, explain.replace("REQUEST_ID", line)) in said
    assert "gatewright_executions_total{" in shell(started, scrape)
