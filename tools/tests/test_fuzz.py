"""The targets of fuzzing, broken targets in Go, and drawn inputs: by a seed in `make fuzz`, else the same."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
fuzz = runpy.run_path(str(ROOT / "tools" / "fuzz.py"))
ended_by_time, functions_in, DRAWS = fuzz["ended_by_time"], fuzz["functions_in"], fuzz["DRAWS"]

GO = """func FuzzRead(f *testing.F) {
	f.Fuzz(func(t *testing.T, text string) {})
}

func TestPlain(t *testing.T) {
}

func TestDrawn(t *testing.T) {
	t.Run("x", func(t *testing.T) {
		property.Check(t, func(t *rapid.T) {})
	})
}
"""

ENDED = """fuzz: elapsed: 5s, execs: 204671 (41229/sec), new interesting: 7 (total: 61)
--- FAIL: FuzzRead (5.08s)
    context deadline exceeded
FAIL
exit status 1
"""
BROKEN = """--- FAIL: FuzzRead (0.02s)
    --- FAIL: FuzzRead (0.00s)
        read_test.go:20: context deadline exceeded

    Failing input written to testdata/fuzz/FuzzRead/582528ddfad69eb5
FAIL
"""


@pytest.mark.parametrize(
    ("output", "ended"), [(ENDED, True), (BROKEN, False), (ENDED + BROKEN, False), ("FAIL", False)]
)
def test_a_target_that_ends_by_time_is_not_broken(output: str, ended: bool) -> None:
    assert ended_by_time(output) == ended


def test_each_test_with_drawn_input_is_a_target_and_parsers_get_all_of_the_time() -> None:
    shares = {target.name: target.share for target in fuzz["find"]()}
    for name in ("documents/a_body_is_a_document_or_has_mistakes", "extproc/FuzzDecode"):
        assert shares[name] == 1
    for name in (
        "documents/json_comes_back_as_it_was",
        "xml-json/a_round_trip_keeps_the_document",
        "gateway-controller/TestStore",
    ):
        assert 0 < shares[name] < 0.5


PROPERTY = """
import pathlib
from hypothesis import given, settings
from hypothesis import strategies as st

@settings(deadline=None)
@given(st.integers(), st.text(), st.floats())
def test_it(number, text, other):
    with pathlib.Path("drawn").open("a") as drawn:
        print(ascii((number, text, other)), file=drawn)
"""
CONSTANTS = "NUMBERS = [47114711, 81528152]\nTEXTS = ['gatewright', 'fuzz']\n"


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where hypothesis keeps failed examples, if it does, and tables of Unicode, which take a second to make."""
    return tmp_path_factory.mktemp("hypothesis")


PLUGINS = ("-p", "pytest_randomly", "-p", "_hypothesis_pytestplugin")
"""Those that change what is drawn: others would only be imported."""


def drawn(folder: Path, storage: Path, *options: str, draws: str = "", imported: str = "") -> str:
    """The inputs of a test, as `make test` runs it, or with options as `make fuzz` does."""
    folder.mkdir()
    (folder / "test_it.py").write_text(imported + PROPERTY)
    (folder / "constants_of_ours.py").write_text(CONSTANTS)
    command = [sys.executable, "-m", "pytest", "-q", *PLUGINS, "-p", "conftest", *options, "test_it.py"]
    paths = {"PYTHONPATH": f"{ROOT}{os.pathsep}{folder}", "HYPOTHESIS_STORAGE_DIRECTORY": str(storage)}
    environment = {**os.environ, **paths, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", **({DRAWS: draws} if draws else {})}
    result = subprocess.run(command, cwd=folder, env=environment, check=False, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    return (folder / "drawn").read_text()


def test_a_test_draws_the_same_input_regardless_of_other_tests(tmp_path: Path, storage: Path) -> None:
    first = drawn(tmp_path / "first", storage)
    assert len(first.splitlines()) == 100
    assert drawn(tmp_path / "second", storage, "--hypothesis-seed=1", imported="import constants_of_ours") == first
    assert (storage / "unicode_data").exists()
    assert not (storage / "examples").exists()


def test_fuzzing_draws_by_its_seed(tmp_path: Path, storage: Path) -> None:
    as_fuzz = ("-p", "tools.fuzz")
    first_draw = drawn(tmp_path / "one", storage, *as_fuzz, "--hypothesis-seed=1", draws="20")
    assert len(first_draw.splitlines()) == 20
    assert drawn(tmp_path / "again", storage, *as_fuzz, "--hypothesis-seed=1", draws="20") == first_draw
    assert drawn(tmp_path / "two", storage, *as_fuzz, "--hypothesis-seed=2", draws="20") != first_draw


def test_tests_with_drawn_input_are_targets_and_plain_tests_are_not() -> None:
    assert functions_in(ROOT / "a_test.go", GO) == ["FuzzRead", "TestDrawn"]
    assert functions_in(ROOT / "cli" / "test_it.py", PROPERTY + "\n\ndef test_plain() -> None: ...\n") == ["test_it"]
