"""The engine as a library that Envoy loads: compiled with a C compiler, and only where it is wanted."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from gatewright_builder import stock_engine
from gatewright_builder.fetching.c_compiler import find_c_compiler
from gatewright_builder.mistake import BuildError
from gatewright_builder.tree import write_tree

if TYPE_CHECKING:
    from gatewright_builder.build import BuildResult

    from conftest import Place

STOCK_ONLY = "{name: add-headers, filePath: policies/add-headers}"
PYTHON_ONLY = "{name: paint, filePath: policies/paint}"
SHOWN = "add-headers v1.9.0 old words <nil>\n"
READ = "import ctypes, sys; it = ctypes.CDLL(sys.argv[1]).Described; it.restype = ctypes.c_char_p; print(it().decode())"
LIBRARY = ["libgatewright.json", "libgatewright.so"]
PROGRAM = ["policy-engine", "policy-engine.json"]
pytestmark = [
    pytest.mark.compiles,
    pytest.mark.timeout(180),
    pytest.mark.usefixtures("fresh_cache", "packages"),
    pytest.mark.skipif(
        find_c_compiler() is None and "C_COMPILER_REQUIRED" not in os.environ, reason="there is no C compiler"
    ),
]


def files(result: BuildResult) -> list[str]:
    return sorted(path.name for path in (result.output / "bin").iterdir())


def shown(result: BuildResult) -> str:
    """What the policies say of themselves in the library, loaded in a process of its own."""
    command = [sys.executable, "-c", READ, str(result.output / "bin" / "libgatewright.so")]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.rstrip("\n") + "\n"


def test_it_is_made_where_it_is_wanted_and_stays_as_long_as_it_fits(place: Place) -> None:
    first = place.build("output", STOCK_ONLY)
    assert files(first) == PROGRAM
    second = place.build("output", STOCK_ONLY, module=True)
    assert place.steps == [
        "compiling the stock policy engine for Envoy, once for all builds on this machine (may take minutes)"
    ]
    assert (files(second), shown(second), second.is_stock) == (LIBRARY + PROGRAM, SHOWN, True)
    assert place.build("output", STOCK_ONLY, module=True).changed == ()
    assert place.build("output", STOCK_ONLY).changed == (), "a library that fits does no harm"
    assert shown(place.build("another", STOCK_ONLY, module=True)) == SHOWN
    assert place.steps == [], "both are in the cache"


def test_policies_of_the_build_are_in_it_and_an_old_one_is_taken_away(place: Place) -> None:
    words = {"policies/add-headers/internal/words/words.go": b'package words\n\nconst Say = "mine"\n'}
    write_tree(words, place.folder)
    result = place.build("output", STOCK_ONLY, module=True)
    assert place.steps == [
        "compiling the policy engine, for the stock one lacks Go policies of this build",
        "compiling the policy engine for Envoy, for the stock one lacks Go policies of this build",
    ]
    assert shown(result) == SHOWN.replace("old words", "mine")
    first = (result.output / "bin" / "libgatewright.so").read_bytes()
    write_tree({name: text.replace(b"mine", b"ours") for name, text in words.items()}, place.folder)
    assert files(place.build("output", STOCK_ONLY)) == PROGRAM
    write_tree(words, place.folder)
    again = place.build("output", STOCK_ONLY, module=True)
    assert (again.output / "bin" / "libgatewright.so").read_bytes() == first, "the same sources give the same bytes"
    assert b"libgatewright.so" in (again.output / "sbom.cdx.json").read_bytes()


def test_a_library_that_was_changed_is_made_anew(place: Place) -> None:
    library = place.build("output", STOCK_ONLY, module=True).output / "bin" / "libgatewright.so"
    library.write_bytes(b"another")
    assert shown(place.build("output", STOCK_ONLY, module=True)) == SHOWN


@pytest.mark.parametrize("chosen", ["", "no-such-cc"])
def test_without_a_c_compiler_the_build_names_the_cure(
    place: Place, monkeypatch: pytest.MonkeyPatch, chosen: str
) -> None:
    monkeypatch.setattr("gatewright_builder.fetching.c_compiler.NAMES", ())
    monkeypatch.setenv("CC", chosen)
    assert files(place.build("output", STOCK_ONLY)) == PROGRAM, "a build without it needs none"
    with pytest.raises(BuildError) as caught:
        place.build("output", STOCK_ONLY, module=True)
    got = "CC=no-such-cc, which is not there" if chosen else "none on PATH"
    assert str(caught.value) == (
        f"cc: expected a C compiler, which the engine inside Envoy is compiled with, got {got}; install gcc or clang"
        " (Debian: apt install gcc libc6-dev), or run with --engine ext-proc"
    )


@pytest.fixture
def installed(place: Place, monkeypatch: pytest.MonkeyPatch) -> Place:
    """The same product as a wheel brings it: both forms of the engine, and no Go source."""
    stock_engine.main(str(place.folder / "wheel"), str(place.product))
    place.leave_to_wheel(monkeypatch)
    return place


def test_a_wheel_brings_it_and_needs_no_compiler(installed: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gatewright_builder.fetching.c_compiler.NAMES", ())
    result = installed.build("output", PYTHON_ONLY, STOCK_ONLY, module=True)
    assert (installed.steps, files(result), shown(result)) == ([], LIBRARY + PROGRAM, SHOWN)
    assert installed.build("output", PYTHON_ONLY, STOCK_ONLY, module=True).changed == ()


def test_a_wheel_without_it_names_the_cure(installed: Place) -> None:
    for name in LIBRARY:
        (installed.folder / "wheel" / name).unlink()
    assert files(installed.build("output", PYTHON_ONLY)) == PROGRAM
    with pytest.raises(BuildError, match=r"expected the engine for Envoy, libgatewright\.so, .* got none; run with"):
        installed.build("output", PYTHON_ONLY, module=True)
