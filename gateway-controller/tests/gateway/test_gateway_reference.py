"""docs/reference/gateway.md is what the model says, and what pages show as Gateways are Gateways."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from gatewright_controller.gateway.gateway_file import effective, render
from gatewright_controller.gateway.gateways import restart_paths
from gatewright_documents.yaml_reader import parse_yaml

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "reference" / "gateway.md"
HOW_TO = ROOT / "docs" / "how-to" / "gateway.md"
BLOCK = re.compile(r"^```yaml\n(.*?)^```", re.MULTILINE | re.DOTALL)
SAMPLES = BLOCK.findall(HOW_TO.read_text())
LOGS = BLOCK.findall((ROOT / "docs" / "how-to" / "logs.md").read_text())
STORE = BLOCK.findall((ROOT / "docs" / "how-to" / "store.md").read_text())


def test_the_page_is_what_the_model_says(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    command = [sys.executable, str(ROOT / "tools" / "reference.py"), str(tmp_path)]
    subprocess.run(command, check=True, timeout=60)
    made = (tmp_path / "gateway.md").read_text()
    if request.config.getoption("--update"):
        PAGE.write_text(made)
    assert PAGE.read_text() == made, "after a change of model/gateway.py run pytest with --update"


def test_what_waits_for_a_restart_is_marked() -> None:
    assert restart_paths() == (("spec", "limits", "connections"), ("spec", "limits", "memory"))
    assert PAGE.read_text().count("*Restart.*") == len(restart_paths())


@pytest.mark.parametrize("sample", SAMPLES + LOGS + STORE)
def test_samples_are_gateways(sample: str) -> None:
    assert render(effective(parse_yaml(sample.encode()), {}, {}))


def test_there_are_samples() -> None:
    assert len(SAMPLES) >= 5
    assert (len(LOGS), len(STORE)) == (3, 1)
    first = SAMPLES[0].split("spec:\n")[1]
    assert len(first.splitlines()) <= 10, "expected two listeners in ten lines"
