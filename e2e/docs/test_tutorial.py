"""docs/tutorial/streams.md step by step: its files unchanged, its commands, and their documented outputs."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.kit.gateway import Gateway, running
from e2e.kit.markdown import blocks, page

PAGE = page("docs/tutorial/streams.md")
MODEL, POLICY, TEST, CLIENT = blocks(PAGE, "python")
DEFINITION, MANIFEST, API = blocks(PAGE, "yaml")
PYTEST, CHANGES, CURL = blocks(PAGE, "sh")
pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The page's model on a port that is free, quicker; its port."""
    begin, last = MODEL.rstrip().rsplit("\n", 1)
    assert last == 'ThreadingHTTPServer(("127.0.0.1", 8000), Model).serve_forever()'
    own = "server = ThreadingHTTPServer(('127.0.0.1', 0), Model)\nprint(server.server_port, flush=True)\n"
    own += "server.serve_forever()"
    script = tmp_path_factory.mktemp("model") / "model.py"
    script.write_text(f"{begin.replace('0.2', '0.01')}\n{own}\n")
    command = [sys.executable, str(script)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        yield int(process.stdout.readline() if process.stdout else b"")
        process.kill()


@pytest.fixture(scope="module")
def tutorial(model: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Gateway, Path]]:
    """A gateway in the folder of the quickstart, after all that the page says to write and to run there."""
    folder = tmp_path_factory.mktemp("tutorial")
    subprocess.run(["gatewright", "init", str(folder)], check=True, capture_output=True)
    manifest = ["--manifest", str(folder / "build.yaml"), "--output", str(folder / "build")]
    with running(None, folder / "state", *manifest) as gateway:
        policy = folder / "policies" / "mask_cards"
        policy.mkdir()
        for file, text in {
            policy / "policy-definition.yaml": DEFINITION,
            policy / "policy.py": POLICY,
            policy / "test_mask_cards.py": TEST,
            folder / "build.yaml": MANIFEST,
            folder / "apis" / "model.yaml": API.replace("8000", str(model)),
        }.items():
            file.write_text(text)
        for command in CHANGES.splitlines():
            result = subprocess.run(
                [*shlex.split(command), "--run-dir", str(gateway.run_dir)],
                cwd=folder,
                capture_output=True,
                text=True,
                check=False,
            )
            assert result.returncode == 0, f"{command}: {result.stdout}{result.stderr}"
        yield gateway, folder


def test_the_tutorials_test_passes(tutorial: tuple[Gateway, Path]) -> None:
    command = [sys.executable, "-m", *shlex.split(PYTEST), "-q", "-p", "no:cacheprovider"]
    result = subprocess.run(command, cwd=tutorial[1], capture_output=True, text=True, check=False)
    assert "4 passed" in result.stdout, result.stdout + result.stderr


def test_curl_receives_the_shown_answer(tutorial: tuple[Gateway, Path]) -> None:
    gateway, folder = tutorial
    command = shlex.split(CURL.replace("8080", str(gateway.port)))
    result = subprocess.run([*command, "-sS"], cwd=folder, capture_output=True, text=True, check=True)
    data = re.findall(r"^data: (.*)$", result.stdout, re.MULTILINE)
    assert data[-1] == "[DONE]"
    deltas = [json.loads(event)["choices"][0]["delta"]["content"] for event in data[:-1]]
    assert "".join(deltas) in PAGE
    assert "[card]," in deltas
    assert deltas.count("") >= 3


def test_the_client_prints_the_shown_text(tutorial: tuple[Gateway, Path]) -> None:
    gateway, folder = tutorial
    script = CLIENT.replace("8080", str(gateway.port))
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=folder, env=dict(os.environ), capture_output=True, text=True, check=True
    )
    (expected,) = re.findall(r"^prints `(.*)`$", PAGE, re.MULTILINE)
    assert result.stdout == expected
