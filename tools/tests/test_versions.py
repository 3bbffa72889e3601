"""One version of the product, however it is installed: gatewright.__version__ of the SDK, which always is there."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import gatewright
import pytest

ROOT = Path(__file__).resolve().parents[2]
DISTRIBUTIONS = sorted(
    path
    for path in (*ROOT.glob("*/pyproject.toml"), *ROOT.glob("*/python*/pyproject.toml"))
    if tomllib.loads(path.read_text()).get("project", {}).get("name", "").startswith("gatewright-")
)


@pytest.mark.parametrize("path", DISTRIBUTIONS, ids=lambda path: path.parent.name)
def test_every_distribution_has_it(path: Path) -> None:
    assert tomllib.loads(path.read_text())["project"]["version"] == gatewright.__version__


def test_the_engine_has_it() -> None:
    engine = ROOT / "gateway-runtime" / "policy-engine" / "engine" / "engine.go"
    assert re.findall(r'^const Version = "(.+)"$', engine.read_text(), re.MULTILINE) == [gatewright.__version__]


def test_there_are_six_distributions() -> None:
    assert len(DISTRIBUTIONS) == 6
