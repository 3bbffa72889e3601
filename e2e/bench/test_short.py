"""`make bench ARGS=--short`: right answers, no file changed, no row far costlier against plain Envoy than recorded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from e2e.kit.places import ROOT


@pytest.mark.slow("measures rows of the bench")
@pytest.mark.alone
@pytest.mark.timeout(600)  # it builds a gateway and the load tool, where they are not there yet
def test_no_policy_costs_far_more_than_recorded() -> None:
    command = [sys.executable, "-m", "bench", "--short"]
    before = tracked_files()
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert tracked_files() == before


def tracked_files() -> dict[Path, bytes]:
    """The files beside the bench that a run with --record writes, and their content."""
    return {file: file.read_bytes() for file in (ROOT / "bench").iterdir() if file.is_file()}
