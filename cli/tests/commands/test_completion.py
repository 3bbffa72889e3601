"""Completion in a real shell: the function that `gatewright completion` prints, called as the shell calls it."""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from cli.tests.clients.test_management import API
from cli.tests.controller_process import TOKEN, Controller, controlling

PROGRAM = Path(sys.executable).parent / "gatewright"
BASH = """
eval "$(gatewright completion bash)"
complete -p gatewright > /dev/null || exit 1
COMP_WORDS=({words}); COMP_CWORD=$(({count} - 1))
_gatewright_completion gatewright
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.fixture(scope="module")
def controller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Controller]:
    with controlling(tmp_path_factory.mktemp("c")) as controller:
        headers = {"authorization": f"Bearer {TOKEN}"}
        for name in ("orders", "orders-v2", "users"):
            document = yaml.safe_load(API.replace("NAME", name))
            assert httpx.post(f"{controller.url}/v1/apis", json=document, headers=headers).status_code == 201
        for name in ("ci-orders", "ci-users"):
            document = {"name": name, "role": "viewer"}
            assert httpx.post(f"{controller.url}/v1/tokens", json=document, headers=headers).status_code == 201
        yield controller


@pytest.fixture
def environment(controller: Controller, tmp_path: Path) -> dict[str, str]:
    file = tmp_path / "contexts.yaml"
    file.write_text(f"""contexts:
  live: {{url: "{controller.url}", token: {TOKEN}}}
  away: {{url: "http://127.0.0.1:1"}}
""")
    file.chmod(0o600)
    path = f"{PROGRAM.parent}{os.pathsep}{os.environ['PATH']}"
    return {"PATH": path, "HOME": str(tmp_path), "GATEWRIGHT_CONTEXTS": str(file), "GATEWRIGHT_CONTEXT": "live"}


def complete(environment: dict[str, str], *words: str) -> list[str]:
    """What bash offers for the last word."""
    script = BASH.format(words=" ".join(map(shlex.quote, ("gatewright", *words))), count=len(words) + 1)
    command = ["bash", "--norc", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, env=environment)
    assert done.stderr == ""
    return done.stdout.split()


def test_bash_completes_commands_kinds_names_options_and_contexts(environment: dict[str, str]) -> None:
    assert complete(environment, "comp") == ["completion"]
    assert complete(environment, "get", "") == [
        "apis",
        "consumers",
        "defaults",
        "files",
        "gateway",
        "namespaces",
        "nodegateways",
        "plans",
        "secrets",
        "nodes",
        "policies",
    ]
    assert complete(environment, "delete", "") == [
        "apis",
        "consumers",
        "defaults",
        "gateway",
        "namespaces",
        "nodegateways",
        "plans",
        "secrets",
    ]
    assert complete(environment, "get", "apis", "") == ["orders", "orders-v2", "users"]
    assert complete(environment, "get", "apis", "--output", "json", "ord") == ["orders", "orders-v2"]
    assert complete(environment, "delete", "api", "orders", "o") == ["orders-v2"]
    assert complete(environment, "wait", "api", "u") == ["users"]
    assert complete(environment, "get", "apis", "--conte") == ["--context"]
    assert complete(environment, "get", "apis", "--context", "") == ["live", "away"]
    assert complete(environment, "context", "use", "l") == ["live"]
    assert complete(environment, "completion", "z") == ["zsh"]
    assert complete(environment, "token", "") == ["create", "delete", "list"]
    assert complete(environment, "token", "create", "ci", "--role", "p") == ["publisher"]
    assert complete(environment, "token", "delete", "ci-orders", "") == ["ci-users"]


def test_names_come_from_the_controller_that_the_line_names(
    environment: dict[str, str], controller: Controller
) -> None:
    away = {**environment, "GATEWRIGHT_CONTEXT": "away"}
    assert complete(away, "get", "apis", "--context", "live", "us") == ["users"]
    token = {**away, "GATEWRIGHT_CONTROLLER_TOKEN": TOKEN}
    assert complete(token, "get", "apis", "--controller", controller.url, "us") == ["users"]


def test_a_controller_that_is_away_or_silent_completes_nothing(environment: dict[str, str]) -> None:
    assert complete({**environment, "GATEWRIGHT_CONTEXT": "away"}, "get", "apis", "") == []
    assert complete({**environment, "GATEWRIGHT_CONTEXT": "none"}, "get", "apis", "") == []
    Path(environment["GATEWRIGHT_CONTEXTS"]).chmod(0o644)
    assert complete(environment, "get", "apis", "") == []


def test_an_unknown_command_completes_as_none_and_prints_no_mistake(environment: dict[str, str]) -> None:
    assert "get" in complete(environment, "no-such-command", "g")


def test_a_controller_that_accepts_and_answers_nothing_is_given_up(environment: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        silent = {**environment, "GATEWRIGHT_CONTROLLER": f"http://127.0.0.1:{server.getsockname()[1]}"}
        begun = time.monotonic()
        assert complete(silent, "get", "apis", "") == []
        assert time.monotonic() - begun < 30, "expected its limit of 1.5 s, on a slow machine"


@pytest.mark.parametrize(("shell", "line"), [("zsh", "#compdef gatewright"), ("fish", "complete --no-files")])
def test_other_shells_get_their_own(environment: dict[str, str], shell: str, line: str) -> None:
    command = [str(PROGRAM), "completion", shell]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, env=environment)
    assert line in done.stdout
    if path := shutil.which(shell):
        subprocess.run([path, "-n"], input=done.stdout, text=True, check=True, timeout=60, env=environment)
