"""The engine as a library that Envoy loads: compiled with a C compiler, and only where it is wanted."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from gatewright_builder import stock_engine
from gatewright_builder.build import BuildOptions, BuildResult, build
from gatewright_builder.events import Step
from gatewright_builder.fetching.c_compiler import find_c_compiler
from gatewright_builder.mistake import BuildError
from gatewright_builder.tree import write_tree

TESTDATA = Path(__file__).parent / "testdata"
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


class Place:
    """A product with one Go policy that ships, and a build.yaml; `steps` are those that the last build reported."""

    def __init__(self, folder: Path, product: Path) -> None:
        self.folder, self.product = folder, folder / "product"
        shutil.copytree(product, self.product)
        shutil.copytree(TESTDATA / "policies", folder / "policies")
        shutil.copytree(TESTDATA / "policies" / "add-headers", self.product / "policies" / "add-headers")
        self.steps: list[str] = []

    def build(self, *entries: str, module: bool = True, output: str = "output") -> BuildResult:
        text = "".join(f"  - {entry}\n" for entry in entries)
        (self.folder / "build.yaml").write_text(f"version: v1\npolicies:\n{text}")
        self.steps.clear()
        options = BuildOptions(self.folder / "build.yaml", self.folder / output, self.say, source_root=self.product)
        return build(replace(options, module=module))

    def say(self, event: object) -> None:
        if isinstance(event, Step) and "engine" in event.text:
            self.steps.append(event.text)


@pytest.fixture
def place(tmp_path: Path, product: Path) -> Place:
    return Place(tmp_path, product)


def files(result: BuildResult) -> list[str]:
    return sorted(path.name for path in (result.output / "bin").iterdir())


def shown(result: BuildResult) -> str:
    """What the policies say of themselves in the library, loaded in a process of its own."""
    command = [sys.executable, "-c", READ, str(result.output / "bin" / "libgatewright.so")]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.rstrip("\n") + "\n"


def test_it_is_made_where_it_is_wanted_and_stays_as_long_as_it_fits(place: Place) -> None:
    first = place.build(STOCK_ONLY, module=False)
    assert files(first) == PROGRAM
    second = place.build(STOCK_ONLY)
    assert place.steps == [
        "compiling the stock policy engine for Envoy, once for all builds on this machine (may take minutes)"
    ]
    assert (files(second), shown(second), second.is_stock) == (LIBRARY + PROGRAM, SHOWN, True)
    assert place.build(STOCK_ONLY).changed == ()
    assert place.build(STOCK_ONLY, module=False).changed == (), "a library that fits does no harm"
    assert shown(place.build(STOCK_ONLY, output="another")) == SHOWN
    assert place.steps == [], "both are in the cache"


def test_policies_of_the_build_are_in_it_and_an_old_one_is_taken_away(place: Place) -> None:
    words = {"policies/add-headers/internal/words/words.go": b'package words\n\nconst Say = "mine"\n'}
    write_tree(words, place.folder)
    result = place.build(STOCK_ONLY)
    assert place.steps == [
        "compiling the policy engine, for the stock one lacks Go policies of this build",
        "compiling the policy engine for Envoy, for the stock one lacks Go policies of this build",
    ]
    assert shown(result) == SHOWN.replace("old words", "mine")
    first = (result.output / "bin" / "libgatewright.so").read_bytes()
    write_tree({name: text.replace(b"mine", b"ours") for name, text in words.items()}, place.folder)
    assert files(place.build(STOCK_ONLY, module=False)) == PROGRAM
    write_tree(words, place.folder)
    again = place.build(STOCK_ONLY)
    assert (again.output / "bin" / "libgatewright.so").read_bytes() == first, "the same sources give the same bytes"
    assert b"libgatewright.so" in (again.output / "sbom.cdx.json").read_bytes()


def test_a_library_that_was_changed_is_made_anew(place: Place) -> None:
    library = place.build(STOCK_ONLY).output / "bin" / "libgatewright.so"
    library.write_bytes(b"another")
    assert shown(place.build(STOCK_ONLY)) == SHOWN


@pytest.mark.parametrize("chosen", ["", "no-such-cc"])
def test_without_a_c_compiler_the_build_names_the_cure(
    place: Place, monkeypatch: pytest.MonkeyPatch, chosen: str
) -> None:
    monkeypatch.setattr("gatewright_builder.fetching.c_compiler.NAMES", ())
    monkeypatch.setenv("CC", chosen)
    assert files(place.build(STOCK_ONLY, module=False)) == PROGRAM, "a build without it needs none"
    with pytest.raises(BuildError) as caught:
        place.build(STOCK_ONLY)
    got = "CC=no-such-cc, which is not there" if chosen else "none on PATH"
    assert str(caught.value) == (
        f"cc: expected a C compiler, which the engine inside Envoy is compiled with, got {got}; install gcc or clang"
        " (Debian: apt install gcc libc6-dev), or run with --engine ext-proc"
    )


@pytest.fixture
def installed(place: Place, monkeypatch: pytest.MonkeyPatch) -> Place:
    """The same product as a wheel brings it: both forms of the engine, and no Go source."""
    stock_engine.main(str(place.folder / "wheel"), str(place.product))
    monkeypatch.setattr(stock_engine, "SHIPPED", place.folder / "wheel")
    for folder in ("gateway-runtime/policy-engine", "sdk/go", "policies"):
        shutil.rmtree(place.product / folder)
    shutil.rmtree(place.folder / "cache")
    return place


def test_a_wheel_brings_it_and_needs_no_compiler(installed: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gatewright_builder.fetching.c_compiler.NAMES", ())
    result = installed.build(PYTHON_ONLY, STOCK_ONLY)
    assert (installed.steps, files(result), shown(result)) == ([], LIBRARY + PROGRAM, SHOWN)
    assert installed.build(PYTHON_ONLY, STOCK_ONLY).changed == ()


def test_a_wheel_without_it_names_the_cure(installed: Place) -> None:
    for name in LIBRARY:
        (installed.folder / "wheel" / name).unlink()
    assert files(installed.build(PYTHON_ONLY, module=False)) == PROGRAM
    with pytest.raises(BuildError, match=r"expected the engine for Envoy, libgatewright\.so, .* got none; run with"):
        installed.build(PYTHON_ONLY)
