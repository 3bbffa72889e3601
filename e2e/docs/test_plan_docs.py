"""The commands of docs/how-to/plan-and-apply.md, in the page's order, on a folder like the page's."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from e2e.kit.commands import command
from e2e.kit.gateway import Gateway, Json, api
from e2e.kit.markdown import commands, page
from e2e.kit.upstream import Upstream

PAGE = "docs/how-to/plan-and-apply.md"
NAME = "orders"


@pytest.fixture
def folder(gateway: Gateway, tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "apis").mkdir()
    yield tmp_path
    with gateway.controller() as client:
        client.delete(f"/v1/apis/{NAME}", params={"wait": "10"})


def write(folder: Path, definition: Json) -> None:
    (folder / "apis" / "orders.yaml").write_text(yaml.safe_dump(definition))


def run(gateway: Gateway, folder: Path, line: str) -> subprocess.CompletedProcess[str]:
    _, *words = shlex.split(line)
    return subprocess.run(command(gateway, *words), capture_output=True, text=True, check=False, timeout=60, cwd=folder)


def shown_after(line: str) -> str:
    """The block that the page shows as the output of a command."""
    rest = page(PAGE).partition(f"    {line}\n")[2]
    block = re.search(r"^    .*(?:\n    .*)*", rest, re.MULTILINE)
    assert block
    return re.sub("^    ", "", block[0], flags=re.MULTILINE) + "\n"


def test_the_pages_commands_do_what_it_says(gateway: Gateway, upstream: Upstream, folder: Path) -> None:
    get = [{"method": "GET", "path": "/{id}"}]
    write(folder, api(NAME, upstream.url, operations=get))
    whole = [line for line in commands(page(PAGE), "gatewright") if " -f apis" in line or "--plan" in line]
    plan, apply_plan, apply, prune = dict.fromkeys(whole)
    assert plan.startswith("gatewright plan ")

    planned = run(gateway, folder, plan)
    assert planned.returncode == 0, planned.stderr
    assert planned.stdout.replace(upstream.url, "http://127.0.0.1:8081") == shown_after(plan)

    applied = run(gateway, folder, apply_plan)
    assert (applied.returncode, applied.stdout) == (0, shown_after(apply)), applied.stderr
    again = run(gateway, folder, apply)
    assert (again.returncode, again.stdout) == (0, f"{NAME} unchanged, deployed\n"), again.stderr

    late = run(gateway, folder, apply_plan)
    assert late.returncode == 4

    (folder / "apis" / "orders.yaml").unlink()
    write(folder, api(NAME, upstream.url, operations=[*get, {"method": "POST", "path": "/"}]))
    pruned = run(gateway, folder, prune)
    assert (pruned.returncode, pruned.stdout) == (0, f"{NAME} changed, deployed\n"), pruned.stderr
