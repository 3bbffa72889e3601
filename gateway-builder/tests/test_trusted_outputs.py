"""Files of a cache or an output are used only if this user's builds have put them there."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from gatewright_builder.build import BuildOptions, BuildResult, build
from gatewright_builder.events import Note, Step
from gatewright_builder.records import Records, contents_of
from gatewright_builder.tree import write_tree

TESTDATA = Path(__file__).parent / "testdata"
pytestmark = [pytest.mark.compiles, pytest.mark.timeout(180), pytest.mark.usefixtures("packages")]
PAINT = "{name: paint, filePath: policies/paint}"
ADD_HEADERS = "{name: add-headers, filePath: policies/add-headers}"
EVIL = b"#!/bin/sh\necho evil\n"


class Place:
    """A build.yaml; `lines` are what the last build reported."""

    def __init__(self, folder: Path, product: Path) -> None:
        self.folder, self.product, self.lines = folder, product, list[str]()
        shutil.copytree(TESTDATA / "policies", folder / "policies")
        self.list(PAINT)

    def list(self, *entries: str) -> None:
        text = "".join(f"  - {entry}\n" for entry in entries)
        (self.folder / "build.yaml").write_text(f"version: v1\npolicies:\n{text}")

    def build(self, name: str = "output") -> BuildResult:
        self.lines.clear()
        options = BuildOptions(self.folder / "build.yaml", self.folder / name, self.say, source_root=self.product)
        return build(options)

    def say(self, event: object) -> None:
        if isinstance(event, Note | Step):
            self.lines.append(event.text)

    def in_environment(self, pattern: str) -> Path:
        return next((self.folder / "output" / "python-env" / "default").glob(f"lib/python*/site-packages/{pattern}"))


@pytest.fixture
def place(tmp_path: Path, product: Path) -> Place:
    return Place(tmp_path, product)


def shown(result: BuildResult) -> str:
    return subprocess.run([result.engine], capture_output=True, text=True, check=True, timeout=30).stdout


def overwrite(path: Path, content: bytes) -> None:
    """With the same length and times, as an attacker who knows what is compared would."""
    before = path.stat()
    path.write_bytes(content.ljust(before.st_size, b"\n")[: before.st_size])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def forged(folder: Path) -> None:
    """Another engine in a cache, with a record that is right about it."""
    (folder / "policy-engine").write_bytes(EVIL)
    record = json.loads((folder / "policy-engine.json").read_text())
    record["sha256"] = "0" * 64
    (folder / "policy-engine.json").write_text(json.dumps(record))


@pytest.mark.parametrize("forge", [lambda folder: overwrite(folder / "policy-engine", EVIL), forged])
def test_a_changed_engine_in_the_cache_is_not_taken(
    place: Place, fresh_cache: Path, forge: Callable[[Path], None]
) -> None:
    honest = shown(place.build("first"))
    (engine,) = (fresh_cache / "engines").iterdir()
    forge(engine)
    assert shown(place.build("second")) == honest
    assert any(line.startswith("compiling the stock policy engine") for line in place.lines)
    place.build("third")
    assert not any(line.startswith("compiling") for line in place.lines), "the cache has the right one again"


def test_an_engine_that_other_builds_put_into_the_cache_is_not_taken(
    place: Place, fresh_cache: Path, cache: Path
) -> None:
    """A cache that a CI has restored: this user has no record of it."""
    honest = shown(place.build("first"))
    shutil.rmtree(cache / "records")
    (engine,) = (fresh_cache / "engines").iterdir()
    forged(engine)
    assert shown(place.build("second")) == honest


@pytest.mark.parametrize("entry", [PAINT, ADD_HEADERS], ids=["a stock engine", "an engine of its own"])
def test_a_changed_engine_in_the_output_is_made_anew(place: Place, entry: str) -> None:
    place.list(entry)
    first = place.build()
    honest = shown(first)
    overwrite(first.engine, EVIL)
    assert shown(place.build()) == honest
    assert "bin/policy-engine is not as it was built: bin is made anew" in place.lines
    assert place.build().changed == ()


@pytest.mark.parametrize("file", ["colour.py", "__pycache__/colour.*.pyc"])
def test_a_changed_file_in_an_environment_is_noticed(place: Place, file: str) -> None:
    place.build()
    path = place.in_environment(file)
    honest = path.read_bytes()
    overwrite(path, b"raise SystemExit('evil')")
    assert "python-env/default" in place.build().changed
    assert place.in_environment(file).read_bytes() == honest
    assert f"{path.relative_to(place.folder / 'output')} is not as installed: python-env/default is made anew" in (
        place.lines
    )
    assert place.build().changed == ()


def test_an_added_or_missing_file_in_an_environment_is_noticed(place: Place) -> None:
    place.build()
    added = place.in_environment("colour.py").with_name("evil.pth")
    added.write_text("import os\n")
    assert "python-env/default" in place.build().changed
    assert not added.exists()
    place.in_environment("colour.py").unlink()
    assert "python-env/default" in place.build().changed
    assert place.in_environment("colour.py").is_file()


def test_an_environment_that_nothing_is_known_of_is_made_anew(place: Place, cache: Path) -> None:
    place.build()
    shutil.rmtree(cache / "records")
    place.in_environment("colour.py").write_text("evil = True\n")
    assert "python-env/default" in place.build().changed
    assert "evil" not in place.in_environment("colour.py").read_text()


def test_an_environment_shares_no_file_with_the_cache_of_packages(place: Place, uv_cache: Path) -> None:
    place.build()
    path = place.in_environment("colour.py")
    assert path.stat().st_nlink == 1
    inodes = {file.stat().st_ino for file in uv_cache.rglob("*") if file.is_file()}
    assert inodes
    assert path.stat().st_ino not in inodes


def test_bytecode_beside_the_executor_is_not_left_there(place: Place) -> None:
    """Python would run it in place of the source."""
    result = place.build()
    assert result.executor is not None
    planted = result.executor.parent / "policies" / "paint_v1_0_0" / "__pycache__" / "policy.cpython-311.pyc"
    write_tree({planted.name: b"evil"}, planted.parent)
    assert place.build().changed == ("python-executor",)
    assert not planted.exists()


def test_changed_bytecode_of_the_executor_is_not_left_there(place: Place) -> None:
    result = place.build()
    assert result.executor is not None
    own = next(result.executor.parent.glob("gatewright_executor/__pycache__/*.pyc"))
    honest = own.read_bytes()
    overwrite(own, honest[:16] + b"evil")
    assert place.build().changed == ("python-executor",)
    assert own.read_bytes() == honest
    assert place.build().changed == ()


def test_a_changed_bill_of_materials_is_made_anew(place: Place) -> None:
    place.build()
    bill = place.folder / "output" / "sbom.cdx.json"
    honest = bill.read_bytes()
    bill.write_bytes(honest.replace(b'"colour"', b'"kolour"'))
    assert place.build().changed == ("sbom.cdx.json",)
    assert bill.read_bytes() == honest


def test_frozen_outputs_are_still_known(place: Place) -> None:
    """A run links the output's files: that changes their inodes' times and nothing in them."""
    output = place.build().output
    shutil.copytree(output, place.folder / "frozen", copy_function=os.link, symlinks=True)
    assert place.build().changed == ()
    shutil.rmtree(place.folder / "frozen")
    assert place.build().changed == ()


def test_records_of_what_is_gone_are_forgotten(tmp_path: Path) -> None:
    records = Records(tmp_path / "records")
    for name in ("one", "two"):
        write_tree({"file": b"content"}, tmp_path / name)
        records.keep(tmp_path / name, contents_of(tmp_path / name))
    shutil.rmtree(tmp_path / "one")
    records.keep(tmp_path / "two", contents_of(tmp_path / "two"))
    assert len(list((tmp_path / "records").iterdir())) == 1
    assert records.read(tmp_path / "one") is None
    assert records.differences(tmp_path / "two") == []


@pytest.mark.parametrize("change", ["content", "mode", "link"])
def test_a_difference_of_any_kind_counts(tmp_path: Path, change: str) -> None:
    records, folder = Records(tmp_path / "records"), tmp_path / "folder"
    write_tree({"file": b"content", "other": b"content"}, folder)
    (folder / "link").symlink_to("file")
    records.keep(folder, contents_of(folder))
    match change:
        case "content":
            overwrite(folder / "file", b"CONTENT")
        case "mode":
            (folder / "file").chmod(0o755)
        case _:
            (folder / "link").unlink()
            (folder / "link").symlink_to("other")
    assert records.differences(folder) == ["link" if change == "link" else "file"]
