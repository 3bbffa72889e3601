"""The product has one version, however it is installed: gatewright.__version__ of the SDK, which is always there."""

from __future__ import annotations

import shutil
import sys
import tomllib
from pathlib import Path

import gatewright
import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
from product_version import DISTRIBUTIONS, PLACES, differing_places, read_version, write_version  # noqa: E402


@pytest.fixture
def copy_folder(tmp_path: Path) -> Path:
    """The files that have the version, in a folder of their own."""
    for place in PLACES:
        (tmp_path / place.file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / place.file, tmp_path / place.file)
    return tmp_path


def test_every_place_has_the_same_version() -> None:
    assert read_version() == gatewright.__version__
    assert list(differing_places()) == []


def test_every_distribution_is_a_place() -> None:
    distributions = {
        path.parent.relative_to(ROOT).as_posix()
        for path in (*ROOT.glob("*/pyproject.toml"), *ROOT.glob("*/python*/pyproject.toml"))
        if tomllib.loads(path.read_text()).get("project", {}).get("name", "").startswith("gatewright-")
    }
    assert distributions == set(DISTRIBUTIONS)


def test_a_new_version_is_written_to_every_place(copy_folder: Path) -> None:
    write_version("1.20.3", copy_folder)
    assert [place.read(copy_folder) for place in PLACES] == ["1.20.3"] * len(PLACES)


def test_nothing_is_written_if_a_place_is_missing(copy_folder: Path) -> None:
    engine = copy_folder / "gateway-runtime/policy-engine/engine/engine.go"
    engine.write_text(engine.read_text().replace("const Version", "const Release"))
    with pytest.raises(SystemExit, match=r'engine\.go: expected one line const Version = "VERSION", got 0'):
        write_version("1.20.3", copy_folder)
    assert read_version(copy_folder) == gatewright.__version__


def test_a_place_with_another_version_is_named(copy_folder: Path) -> None:
    PLACES[2].write(copy_folder, "9.9.9")
    assert list(differing_places(copy_folder)) == [f"{PLACES[2].file}: 9.9.9"]
