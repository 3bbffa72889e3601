from __future__ import annotations

from pathlib import Path

import pytest
from gatewright_cli.mistakes import PreflightError
from gatewright_cli.node.phase_times import PhaseTimes
from gatewright_cli.run.startup import build

from cli.tests.run.test_options import options


def test_the_mistakes_of_a_build_come_out_of_the_process_that_makes_it(tmp_path: Path) -> None:
    manifest = tmp_path / "build.yaml"
    manifest.write_text("version: v1\npolicies:\n  - {name: Not a name}\n  - {name: two, version: x}\n")
    spent = PhaseTimes()
    with pytest.raises(PreflightError) as refused:
        build(options("--manifest", str(manifest), "--output", str(tmp_path / "out")), spent)
    assert len(refused.value.mistakes) > 1
    assert all(mistake.startswith("build.yaml:") for mistake in refused.value.mistakes)
    assert list(spent.seconds) == ["build"]


def test_a_build_output_that_is_run_as_it_is_is_not_built(tmp_path: Path) -> None:
    spent = PhaseTimes()
    build(options("--manifest", str(tmp_path / "none.yaml"), "--build", str(tmp_path)), spent)
    assert spent.seconds == {}
