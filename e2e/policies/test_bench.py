"""`make bench ARGS=--short`: right answers, and no row costs far more against plain Envoy than is recorded."""

from __future__ import annotations

import subprocess
import sys

import pytest

from e2e.kit.places import ROOT


@pytest.mark.slow("measures rows of the bench")
@pytest.mark.alone
@pytest.mark.timeout(600)  # it builds a gateway and the load tool, where they are not there yet
def test_no_policy_costs_far_more_than_recorded() -> None:
    command = [sys.executable, "-m", "bench", "--short"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
