"""Which engine a build gets: a stock one from cache or wheel, without Go, or one of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from gatewright_builder import stock_engine
from gatewright_builder.fetching.go_command import find_go
from gatewright_builder.mistake import BuildError
from gatewright_builder.tree import write_tree

if TYPE_CHECKING:
    from gatewright_builder.build import BuildResult

    from conftest import Place

TESTDATA = Path(__file__).parent / "testdata"
pytestmark = [pytest.mark.compiles, pytest.mark.timeout(180), pytest.mark.usefixtures("fresh_cache", "packages")]
STOCK_ONLY = "{name: add-headers, filePath: policies/add-headers}"
PYTHON_ONLY = "{name: paint, filePath: policies/paint}"
ANOTHER = "{name: add-headers, filePath: policies/add-headers-next}"
SHOWN = "add-headers v1.9.0 old words <nil>\n"


def shown(result: BuildResult) -> str:
    return subprocess.run([result.engine], capture_output=True, text=True, check=True, timeout=30).stdout


def without_go(monkeypatch: pytest.MonkeyPatch, scratch: Path) -> None:
    """PATH as it is, but for Go: links stand for the other programs of the folders that have it."""
    folders = []
    for number, folder in enumerate(os.environ["PATH"].split(os.pathsep)):
        folders.append(Path(folder))
        if (Path(folder) / "go").exists():
            folders[-1] = scratch / f"bin-{number}"
            folders[-1].mkdir(parents=True)
            for program in Path(folder).iterdir():
                if program.name != "go":
                    (folders[-1] / program.name).symlink_to(program)
    monkeypatch.setenv("PATH", os.pathsep.join(map(str, folders)))
    assert find_go() is None


def test_the_stock_engine_is_compiled_once_and_serves_all_that_it_has(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = place.build("first", STOCK_ONLY)
    assert place.steps == ["compiling the stock policy engine, once for all builds on this machine (may take minutes)"]
    without_go(monkeypatch, place.folder / "path")
    second = place.build("second", PYTHON_ONLY)
    third = place.build("third", PYTHON_ONLY, STOCK_ONLY)
    assert place.steps == []
    assert [shown(result) for result in (first, second, third)] == [SHOWN] * 3
    assert len({result.engine.read_bytes() for result in (first, second, third)}) == 1


def test_other_sources_of_a_policy_that_ships_get_an_engine_of_their_own(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tree({"policies/add-headers/internal/words/words.go": b'package words\n\nconst Say = "mine"\n'}, place.folder)
    result = place.build("own", STOCK_ONLY)
    assert place.steps == ["compiling the policy engine, for the stock one lacks Go policies of this build"]
    assert shown(result) == SHOWN.replace("old words", "mine")
    without_go(monkeypatch, place.folder / "path")
    assert place.build("own", STOCK_ONLY).changed == (), "what is there needs no Go"
    with pytest.raises(BuildError, match="go: expected the Go toolchain on PATH, got none; install Go"):
        place.build("own", ANOTHER)


def test_a_copy_of_a_policy_that_ships_needs_no_engine_of_its_own(place: Place) -> None:
    """Of its go.mod only what is compiled counts: no comment, and not the folder of its SDK."""
    first = place.build("first", STOCK_ONLY)
    go_mod = place.folder / "policies/add-headers/go.mod"
    go_mod.write_text(f"// A copy.\n{go_mod.read_text()}")
    second = place.build("second", STOCK_ONLY)
    assert second.is_stock
    assert second.engine.read_bytes() == first.engine.read_bytes()


def test_python_policies_that_ship_are_not_looked_into_for_it(place: Place) -> None:
    """It has none of them; a build that wants one reads that one."""
    paint = shutil.copytree(TESTDATA / "policies" / "paint", place.product / "policies" / "paint")
    (paint / "policy.py").write_text("def on_request(")
    assert place.build("first", STOCK_ONLY).is_stock


def test_the_engine_of_a_changed_product_is_compiled_anew(place: Place) -> None:
    place.build("first", STOCK_ONLY)
    words = place.product / "policies/add-headers/internal/words/words.go"
    words.write_text('package words\n\nconst Say = "newer"\n')
    shutil.copy(words, place.folder / "policies/add-headers/internal/words/words.go")
    assert shown(place.build("first", STOCK_ONLY)) == SHOWN.replace("old words", "newer")


def test_the_record_says_what_the_engine_is_made_of(place: Place) -> None:
    record = json.loads((place.build("first", STOCK_ONLY).output / "bin" / "policy-engine.json").read_text())
    assert list(record["policies"]) == ["add-headers:v1.9.0"]
    assert record["toolchain"].startswith("go1.")
    assert "gatewright.dev/policy-engine" in [module["path"] for module in record["modules"]]


@pytest.fixture
def installed(place: Place, monkeypatch: pytest.MonkeyPatch) -> Place:
    """The same product as a wheel brings it: an engine, and no Go source."""
    engine = place.build("first", PYTHON_ONLY).output / "bin"
    shutil.copytree(engine, place.folder / "wheel")
    place.leave_to_wheel(monkeypatch)
    without_go(monkeypatch, place.folder / "path")
    return place


def test_a_wheel_builds_with_the_engine_that_it_brings(installed: Place) -> None:
    result = installed.build("second", PYTHON_ONLY, STOCK_ONLY)
    assert (installed.steps, shown(result)) == ([], SHOWN)
    assert b'BridgeFactory("default")' in (result.output / "policy-engine" / "plugin_registry.go").read_bytes()
    assert installed.build("second", PYTHON_ONLY, STOCK_ONLY).changed == ()


def test_a_wheel_compiles_nothing_in(installed: Place) -> None:
    with pytest.raises(BuildError) as caught:
        installed.build("third", ANOTHER)
    assert str(caught.value) == (
        "policies/add-headers-next: expected Go policies that the engine of this installation has, got"
        " add-headers:v1.10.0; build in a checkout of Gatewright, which can compile them in"
    )


def test_the_command_for_wheels_writes_it(tmp_path: Path, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gatewright_builder.fetching.c_compiler.NAMES", ())  # test_engine_module has it with a library
    monkeypatch.delenv("CC", raising=False)
    stock_engine.main(str(tmp_path / "for-wheel"), str(place.product))
    assert sorted(path.name for path in (tmp_path / "for-wheel").iterdir()) == ["policy-engine", "policy-engine.json"]
