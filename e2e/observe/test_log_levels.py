"""`gatewright log-level` on a node that runs: each component, processes that are started later, and back by itself."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from e2e.kit.gateway import Gateway, Json, api, attach, eventually, running
from e2e.kit.markdown import blocks, page
from e2e.kit.shared_build import is_engine_in_envoy
from e2e.kit.upstream import Upstream

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def node(build: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A node whose levels no other test relies on."""
    with running(build, tmp_path_factory.mktemp("state")) as gateway:
        yield gateway


def log_level(node: Gateway, *words: str) -> subprocess.CompletedProcess[str]:
    command = ["gatewright", "log-level", *words, "--run-dir", str(node.run_dir)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def levels(node: Gateway, *words: str) -> dict[str, Json]:
    result = log_level(node, "--json", *words)
    assert result.returncode == 0, result.stderr
    return {level["component"]: level for level in json.loads(result.stdout)["levels"]}


def debug_lines(node: Gateway, component: str) -> int:
    return len(node.find_records(component=component, level="debug"))


def test_each_components_level_changes_while_it_runs(node: Gateway, upstream: Upstream) -> None:
    assert {name: level["level"] for name, level in levels(node).items()} == {
        "supervisor": "info", "controller": "info", "python-executor": "info", "policy-engine": "info",
        "envoy": "warning",
    }  # fmt: skip
    node.deploy(api("says", upstream.url, [attach("say", {"what": "traceback"})]))
    components = ("controller", "python-executor", "policy-engine", "envoy")
    before = debug_lines(node, "envoy")
    levels(node, *(f"{name}=debug" for name in ("supervisor", *components)))
    assert httpx.get(f"{node.url}/says/x").status_code == 200
    node.deploy(api("says-too", upstream.url, [attach("say", {"what": "traceback"})]))
    eventually("Envoy logs more", lambda: debug_lines(node, "envoy") > before)
    for name in ("policy-engine", "python-executor", "controller"):
        assert node.find_records(component=name, message="log level changed", to="debug"), name
    levels(node, *(f"{name}=default" for name in ("supervisor", *components)))


def test_a_logger_of_envoy_changes_and_an_unknown_one_is_refused(node: Gateway) -> None:
    levels(node, "envoy.http=debug")
    httpx.get(f"{node.url}/nowhere")
    eventually("Envoy logs the request", lambda: debug_lines(node, "envoy"))
    refused = log_level(node, "envoy.no_such_part=debug")
    assert refused.returncode == 1
    assert "envoy.no_such_part: Envoy knows no such part" in refused.stderr
    assert "envoy.http" in levels(node)
    assert "envoy.http" not in levels(node, "envoy.http=default")


def command_of(node: Gateway, name: str) -> list[str]:
    """The command of a process; of an engine inside Envoy the arguments that Envoy's bootstrap has."""
    if name == "engine" and is_engine_in_envoy():
        (extension,) = yaml.safe_load((node.run_dir / "bootstrap.yaml").read_text())["bootstrap_extensions"]
        arguments: list[str] = json.loads(extension["typed_config"]["extension_config"]["value"])
        return arguments
    return Path(f"/proc/{node.pid(name)}/cmdline").read_text().split("\0")


def test_restarted_processes_have_the_level_too(node: Gateway) -> None:
    levels(node, "policy-engine=debug", "python-executor=debug", "envoy=info")
    try:
        for name in ("engine", node.executors()[0]["name"], "envoy"):
            pid = node.kill(name)
            eventually(f"{name} is back", lambda name=name, pid=pid: back(node, name, pid), 60)  # type: ignore[misc]
            command = command_of(node, name)
            assert command[command.index("--log-level") + 1] == ("info" if name == "envoy" else "debug"), command
    finally:
        levels(node, "policy-engine=default", "python-executor=default", "envoy=default")


def back(node: Gateway, name: str, before: int) -> bool:
    status = node.process_status(name)
    return status["state"] == "ready" and status["pid"] not in (None, before)


def test_a_temporary_level_is_reset(node: Gateway) -> None:
    level = levels(node, "policy-engine=debug", "--for", "1s")["policy-engine"]
    assert (level["level"], level["then"]) == ("debug", "info")
    eventually("it is back", lambda: levels(node)["policy-engine"] == {"component": "policy-engine", "level": "info"})
    eventually(
        "the engine logs it",
        lambda: node.find_records(component="policy-engine", message="log level changed", to="info"),
    )


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("policy-engine", "expected COMPONENT=LEVEL"),
        ("engine=debug", "expected a component of this run, supervisor, controller"),
        ("envoy.ext_prok=debug", ", ext_proc, "),
        ("policy-engine=loud", "policy-engine: expected one of debug, info, warning, error, default, got 'loud'"),
    ],
)
def test_a_wrong_level_is_reported(node: Gateway, change: str, sentence: str) -> None:
    result = log_level(node, change)
    assert result.returncode != 0
    assert sentence in result.stderr


def test_the_documentations_commands_work(node: Gateway) -> None:
    (block,) = (block for block in blocks(page("docs/how-to/logs.md"), "sh") if "log-level" in block)
    for command in block.splitlines():
        result = log_level(node, *shlex.split(command)[2:])
        assert result.returncode == 0, f"{command}: {result.stderr}"
    assert {level["level"] for level in levels(node).values()} == {"info", "warning"}


def test_the_default_output_is_a_table(node: Gateway) -> None:
    lines = log_level(node).stdout.splitlines()
    assert lines[0].split() == ["supervisor", "info"]
    assert [line.split()[0] for line in lines][-1] == "envoy"
