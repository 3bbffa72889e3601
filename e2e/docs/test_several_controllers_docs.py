"""The commands of docs/how-to/several-controllers.md as they stand, but for URLs, against two controllers."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from e2e.docs.lone_controllers import Shell, lone_controller
from e2e.kit.gateway import Gateway, api
from e2e.kit.markdown import blocks, page, section
from e2e.kit.upstream import Upstream

PAGE = page("docs/how-to/several-controllers.md")


@pytest.fixture
def production(short_folder: Path) -> Iterator[str]:
    with lone_controller(short_folder) as url:
        yield url


@pytest.fixture
def short_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a short path, for it holds a socket."""
    return tmp_path_factory.mktemp("p")


def shown_commands(heading: str) -> list[str]:
    return [line for block in blocks(section(PAGE, heading), "sh") for line in block.splitlines()]


def test_the_shown_commands_work(
    gateway: Gateway, production: str, short_folder: Path, tmp_path: Path, upstream: Upstream
) -> None:
    (tmp_path / "staging-token").write_text((gateway.run_dir / "management-token").read_text())
    (tmp_path / "production-token").write_text((short_folder / "production-token").read_text())
    (tmp_path / "ca.pem").touch()
    staging = str(gateway.status()["controller"])
    shell = Shell(tmp_path, {"http://127.0.0.1:9091": staging, "https://gateway.example:9443 ": f"{production} "})
    for command in shown_commands("Keep controllers"):
        printed = shell.run(command.replace(" --ca ca.pem", ""))  # the production of this test has no TLS
    assert re.search(rf"^\* +staging +{staging} +\*{{8}}$", printed, re.MULTILINE)
    assert re.search(rf"^ +production +{production} +{tmp_path}/production-token$", printed, re.MULTILINE)
    assert yaml.safe_load(shell.run("gatewright context show"))["context"] == "staging"

    orders = api("orders-v1", upstream.url)
    orders["metadata"]["labels"] = {"team": "payments", "tier": "gold"}
    (tmp_path / "orders.yaml").write_text(yaml.safe_dump(orders))
    apply, wait, delete, wait_deleted = shown_commands("Change, wait, delete")
    assert shell.run(apply) == "orders-v1 created\n"
    assert shell.run(wait) == "orders-v1 deployed\n"

    shown = shown_commands("See what a controller has")
    table, document, elsewhere, policies, nodes, files, rejected, labelled, owned, saved, again = shown
    assert re.search(r"^orders-v1 .* deployed$", shell.run(table), re.MULTILINE)
    assert yaml.safe_load(shell.run(document))["metadata"] == orders["metadata"]
    assert shell.run(elsewhere).splitlines()[1:] == []
    assert shell.run(policies).startswith("NAME ")
    assert len(yaml.safe_load(shell.run(nodes))) == 1
    assert shell.run(files).split() == ["NAME", "KIND", "RESOURCE", "STATE", "WINNER", "REASON"]
    assert [len(shell.run(command).splitlines()) for command in (rejected, labelled, owned)] == [1, 2, 1]
    assert shell.run(saved) == ""
    assert set(re.findall(r"\w+$", shell.run(again), re.MULTILINE)) == {"unchanged"}

    assert shell.run(delete) == "orders-v1 deleted\n"
    assert shell.run(wait_deleted) == "orders-v1 deleted\n"
    shell.run(wait, status=3)
    (completion,) = re.findall(r"^    (eval .*)$", section(PAGE, "Completion"), re.MULTILINE)
    assert shell.run(f"{completion}; complete -p gatewright").endswith(" gatewright\n")


def test_the_shown_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "config" / "gatewright").mkdir(parents=True)
    file = tmp_path / "config" / "gatewright" / "contexts.yaml"
    file.write_text(blocks(section(PAGE, "Keep controllers"), "yaml")[0])
    environment = {**os.environ, "XDG_CONFIG_HOME": str(tmp_path / "config"), "GATEWRIGHT_CONTEXTS": ""}
    command = ["gatewright", "context", "list"]
    refused = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)
    assert (refused.returncode, refused.stderr.strip().endswith(f"chmod 600 {file}")) == (1, True)
    file.chmod(0o600)
    listed = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=True).stdout
    (table,) = re.findall(r"^    CURRENT .*\n(?:    .*\n)+", section(PAGE, "Keep controllers"), re.MULTILINE)
    assert [line.strip() for line in listed.splitlines()] == [line.strip() for line in table.splitlines()]
